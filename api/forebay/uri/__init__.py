"""Media URIs, and the one place that maps a URI to a path inside the cache.

A URI names an *entry* of the cache. The entry is the path of the cached file relative to
``<cache_dir>/media``, for instance ``s3/bucket/images/a.jpg``; ordinary names stay exactly as they
are, so siblings keep their relative places and extensions are kept. Names that a file system could
not hold, or that would lead outside, are escaped with ``%``:

======================================  ==========================================
in the URI                              in the entry
======================================  ==========================================
``%``, control characters, ``\\``        ``%25``, ``%00``, ``%5c``
an empty segment, as in ``a//b``        ``%-``
``.`` and ``..``                        ``%2e`` and ``%2e%2e``
a segment of more than 240 bytes        its beginning, ``%~``, a hash, its extension
a key of more than 1,500 escaped bytes  ``%~``, a hash of its directory, then the file name
a query string of a URL                 ``%q`` and a hash before the extension
======================================  ==========================================

The mapping is injective. It never depends on what else is in the cache, with one exception that a
file system forces: where the key ``a`` is cached as a file, ``a/b`` cannot lie below it. Whichever
comes second goes to its `Layout.alternate_path`, where directories carry a trailing ``%`` and so
cannot meet a file's name.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote_plus, unquote_to_bytes, urlsplit

from forebay.errors import UriError

_STORES = ("s3", "gs", "minio")
_URLS = ("http", "https")
REMOTE_SCHEMES = _STORES + _URLS

_MAX_SEGMENT_BYTES = 240
_MAX_KEY_BYTES = 1500

# A bucket and a short ASCII key without anything to escape: the entry is the URI itself.
_PLAIN = re.compile(
    r"(?:s3|gs|minio)://[a-z0-9][a-z0-9._-]*"
    r"(?:/(?!\.{0,2}(?:/|\Z))[A-Za-z0-9 !$&'()+,;=@^_`{}~.\-#?*:\[\]|<>\"]+)+\Z"
)
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f%\\]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXTENSION = re.compile(r"(?:\.tar)?\.[A-Za-z0-9]{1,10}\Z")
_PERCENT_ENCODED = re.compile(r"%[0-9a-fA-F]{2}")
# Characters that mean the same in a URL whether they are percent-encoded or not (RFC 3986, 2.3),
# and those that must be encoded in every path: both are decoded in the entry.
_DECODABLE = re.compile(
    rb"%(2[02dDeE]|3[0-9cCeE]|4[1-9a-fA-F]|5[0-9a-fA-F]|6[0-9a-fA-F]|7[0-9a-eA-E]|[89a-fA-F][0-9a-fA-F])"
)
# What a client would drop from a URL, or could not send: two URLs would name one entry.
_NOT_IN_URL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Clients do not agree about which host an authority with one of these names.
_NOT_IN_AUTHORITY = re.compile(r"[\s\\<>\"^`{|}]")
_HOST_AND_PORT = re.compile(r"(?:\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?\Z")
# The parameters of a signature say who may read, not what is read (AWS SigV4 and SigV2, Google,
# CloudFront, Azure SAS). Each set is dropped from an entry's identity only when it is whole.
_SIGNATURES = (
    ({"x-amz-signature"}, re.compile(r"x-amz-.*")),
    ({"x-goog-signature"}, re.compile(r"x-goog-.*")),
    ({"signature", "expires", "awsaccesskeyid"}, re.compile(r"signature|expires|awsaccesskeyid")),
    ({"signature", "expires", "googleaccessid"}, re.compile(r"signature|expires|googleaccessid")),
    ({"signature", "key-pair-id"}, re.compile(r"signature|expires|policy|key-pair-id")),
    (
        {"sig", "sv"},
        re.compile(r"sig|s[veptri]|spr|sip|ss|srt|ses|sdd|skoid|sktid|skt|ske|sks|skv|saoid|suoid|scid"),
    ),
)


@dataclass(frozen=True, slots=True)
class MediaURI:
    """A parsed remote URI.

    Attributes:
        raw: the URI as it was given; may hold secrets (a signed query string).
        scheme: one of `REMOTE_SCHEMES`, in lower case.
        bucket: the bucket, or the ``host:port`` of a URL.
        key: the object's key, or the path of a URL as it is written there, without the leading ``/``.
        query: the query string of a URL.
    """

    raw: str = field(repr=False)
    scheme: str
    bucket: str
    key: str
    query: str = field(default="", repr=False)

    @property
    def is_url(self) -> bool:
        return self.scheme in _URLS

    @property
    def redacted(self) -> str:
        """The URI without user name, password and query string: safe to log and to send."""
        path = f"{self.bucket}/{self.key}" if self.bucket else ""
        return f"{self.scheme}://{path}" + ("?…" if self.query else "")

    @property
    def entry(self) -> str:
        """The entry's name: the path of its file relative to ``<cache_dir>/media``."""
        return entry_of(self.raw)

    def __str__(self) -> str:
        return self.redacted


def redact(uri: str) -> str:
    """``uri`` without user name, password and query string, however broken it may be."""
    match = _SCHEME.match(uri)
    if match is None:
        return uri
    rest, query = uri[match.end() :], ""
    store = match[1].lower() in _STORES
    if not store or "@" in rest.partition("/")[0]:
        rest, query, _ = rest.partition("#")[0].partition("?")
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    if ":" in authority and (store or not _HOST_AND_PORT.match(authority)):
        # The beginning of a password with a slash in it, for all one can tell.
        return f"{match[0]}…"
    return match[0] + authority + slash + path + ("?…" if query else "")


def is_local(uri: str) -> bool:
    """Whether ``uri`` is a plain local path (or a ``file://`` URL), which is used as it is."""
    match = _SCHEME.match(uri)
    return match is None or match[1].lower() == "file"


def local_file(uri: str) -> str:
    """The path behind a local ``uri``: itself, or what a ``file://`` URL names."""
    if not uri[:7].lower().startswith("file://"):
        return uri
    return os.fsdecode(unquote_to_bytes(urlsplit(uri).path))


def parse(uri: str) -> MediaURI:
    """Parses a remote URI.

    Raises:
        UriError: the scheme is unknown, the bucket or host is missing, or no server could have it.
    """
    match = _SCHEME.match(uri)
    if match is None:
        raise UriError(f"{uri!r} is a local path, not a media URI; expected {_expected()}")
    scheme = match[1].lower()
    if scheme not in REMOTE_SCHEMES:
        raise UriError(
            f"{redact(uri)!r} has the scheme {scheme!r}, which Forebay cannot fetch; expected {_expected()}"
        )
    if scheme in _URLS:
        return _parse_url(uri, scheme)
    try:
        os.fsencode(uri)
    except UnicodeEncodeError:
        raise UriError(f"{redact(uri)!r} holds half of a surrogate pair, which no key can") from None
    bucket, _, key = uri[match.end() :].partition("/")
    if not bucket:
        raise UriError(f"{uri!r} names no bucket; expected {scheme}://bucket/key")
    if "@" in bucket or ":" in bucket:
        raise UriError(
            f"{redact(uri)!r} has '@' or ':' in its bucket's name, which no {scheme} server allows; "
            "credentials belong in the environment or the settings"
        )
    return MediaURI(uri, scheme, bucket, key)


def parse_object(uri: str) -> MediaURI:
    """Like `parse`, for a URI that must name one object rather than a prefix.

    Raises:
        UriError: as `parse`, or the URI names no key.
    """
    parsed = parse(uri)
    if not parsed.key and not parsed.is_url:
        raise UriError(
            f"{uri!r} names a bucket but no object; expected {parsed.scheme}://{parsed.bucket}/key"
        )
    return parsed


@lru_cache(maxsize=1 << 16)
def entry_of(uri: str) -> str:
    """The entry that a remote URI names.

    Raises:
        UriError: as `parse_object`.
    """
    if len(uri) <= _MAX_SEGMENT_BYTES and _PLAIN.match(uri):
        return uri.replace("://", "/", 1)
    parsed = parse_object(uri)
    if parsed.is_url:
        path = parsed.key
        if len(_PERCENT_ENCODED.findall(path)) != path.count("%"):
            # Some are meant as they stand, so clients encode all of them.
            path = path.replace("%", "%25")
        segments = [_DECODABLE.sub(_decode_one, s.encode()) for s in path.split("/")]
    else:
        segments = [os.fsencode(s) for s in parsed.key.split("/")]
    names = [_escape_segment(s) for s in segments]
    query = _identity_of_query(parsed.query)
    if query:
        stem, extension = _split_extension(names[-1])
        names[-1] = f"{stem}%q{_digest(query.encode())}{extension}"
    names = [_shorten(name) for name in names]
    key = "/".join(names)
    if len(os.fsencode(key)) > _MAX_KEY_BYTES:
        key = f"%~{_digest(os.fsencode('/'.join(names[:-1])))}/{names[-1]}"
    return f"{parsed.scheme}/{_shorten(_escape_segment(os.fsencode(parsed.bucket)))}/{key}"


def uri_of(entry: str) -> str | None:
    """The URI that an entry was made from, or ``None`` where a hash took its place."""
    scheme, _, rest = entry.partition("/")
    bucket, _, key = rest.partition("/")
    if "%~" in entry or "%q" in entry or not key or scheme not in REMOTE_SCHEMES:
        return None
    segments = [b"" if s == "%-" else unquote_to_bytes(s) for s in key.split("/")]
    if scheme in _URLS:
        # What is still percent-encoded after unescaping was so in the URL.
        key = "/".join(quote(s, safe="%!$&'()*+,;=:@~") for s in segments)
    else:
        key = os.fsdecode(b"/".join(segments))
    return f"{scheme}://{os.fsdecode(unquote_to_bytes(bucket))}/{key}"


class Layout:
    """Where a volume keeps the file of each entry.

    Args:
        cache_dir: the volume's directory.
        fold_case: for a file system on which ``A`` and ``a`` are one, or two ways to write ``é``:
            capitals and everything outside ASCII become ``%^<code>;``, and a name that grows too long
            by that becomes several, with ``%+`` at every cut.
    """

    def __init__(self, cache_dir: str, *, fold_case: bool = False) -> None:
        self.cache_dir = cache_dir
        self.media_dir = os.path.join(cache_dir, "media")
        self.private_dir = os.path.join(cache_dir, ".forebay")
        self.temporary_dir = os.path.join(self.private_dir, "tmp")
        self.fold_case = fold_case
        self._prefix = self.media_dir + "/"

    def path(self, entry: str) -> str:
        """The path of an entry's file, unless a directory or file is in its way."""
        return self._prefix + (_fold(entry) if self.fold_case else entry)

    def alternate_path(self, entry: str) -> str:
        """The path of an entry whose `path` is taken: another key's file lies where it needs a
        directory, or a directory where it needs its file."""
        scheme, bucket, *directories, name = self.path(entry)[len(self._prefix) :].split("/")
        return self._prefix + "/".join([scheme, *(d + "%" for d in (bucket, *directories)), name])

    def entry(self, path: str) -> str | None:
        """The entry whose file lies at ``path``, or ``None`` where none of ours can lie there."""
        if not path.startswith(self._prefix):
            return None
        parts = path[len(self._prefix) :].split("/")
        if len(parts) < 3 or parts[0] not in REMOTE_SCHEMES:
            return None
        if parts[1].endswith("%"):
            if not all(part.endswith("%") for part in parts[1:-1]):
                return None
            parts = [parts[0], *(part[:-1] for part in parts[1:-1]), parts[-1]]
        entry = "/".join(parts)
        if self.fold_case:
            folded, entry = entry, _unfold(entry)
            if _fold(entry) != folded:
                return None
        return entry if all(_is_escaped(part) for part in entry.split("/")[1:]) else None


_ESCAPED = re.compile(
    r"(?:[^%\\\x00-\x1f\x7f\ud800-\udfff]|%(?:[01][0-9a-f]|25|2e|5c|7f|[89a-f][0-9a-f]|[-~q]))+\Z"
)
_CAPITAL_OR_WIDE = re.compile(r"[A-Z\u0080-\U0010ffff]")
_FOLDED = re.compile(r"%\^(10[0-9a-f]{4}|[0-9a-f]{1,5});")
_TOO_LONG = re.compile(rf"[^/]{{{_MAX_SEGMENT_BYTES}}}(?=[^/])")
_CUT = "%+/%+"


def _is_escaped(part: str) -> bool:
    return part not in (".", "..") and _ESCAPED.match(part) is not None


def _fold(entry: str) -> str:
    folded = _CAPITAL_OR_WIDE.sub(lambda match: f"%^{ord(match[0]):x};", entry)
    return _TOO_LONG.sub(lambda match: match[0] + _CUT, folded)


def _unfold(folded: str) -> str:
    return _FOLDED.sub(lambda match: chr(int(match[1], 16)), folded.replace(_CUT, ""))


def _expected() -> str:
    return "s3://bucket/key, gs://bucket/key, minio://bucket/key, an http(s):// URL, or a local path"


def _parse_url(uri: str, scheme: str) -> MediaURI:
    if _NOT_IN_URL.search(uri):
        raise UriError(f"{redact(uri)!r} holds a control character or invalid UTF-8; percent-encode it")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text may repeat the password
        raise UriError(f"{redact(uri)!r} is not a valid URL: its host or port cannot be read") from None
    if not host:
        raise UriError(f"{redact(uri)!r} names no host; expected {scheme}://host/path")
    if _NOT_IN_AUTHORITY.search(parts.netloc):
        raise UriError(f"{redact(uri)!r} is not a valid URL: its host holds a character that no host may")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != {"http": 80, "https": 443}[scheme]:
        host = f"{host}:{port}"
    return MediaURI(uri, scheme, host, parts.path[1:], parts.query)


def _decode_one(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1], 16)])


def _escape_segment(segment: bytes) -> str:
    if not segment:
        return "%-"
    if segment in (b".", b".."):
        return "%2e" * len(segment)
    escaped = _UNSAFE.sub(lambda m: b"%%%02x" % m[0][0], segment)
    try:
        return escaped.decode()
    except UnicodeDecodeError:
        return "".join(chr(b) if b < 0x80 else f"%{b:02x}" for b in escaped)


def _split_extension(name: str) -> tuple[str, str]:
    match = _EXTENSION.search(name)
    return (name, "") if match is None or match.start() == 0 else (name[: match.start()], match[0])


def _shorten(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _MAX_SEGMENT_BYTES:
        return name
    stem, extension = _split_extension(name)
    beginning = os.fsencode(stem)[:120].decode(errors="ignore")
    # An escape cut in half would no longer be one.
    beginning = re.sub(r"%[0-9a-f]?\Z", "", beginning)
    return f"{beginning}%~{_digest(encoded)}{extension}"


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:32]


def _identity_of_query(query: str) -> str:
    if not query:
        return ""
    parameters = [(unquote_plus(p.partition("=")[0]).lower(), p) for p in query.split("&")]
    names = {name for name, _ in parameters}
    for required, pattern in _SIGNATURES:
        if required <= names:
            return "&".join(parameter for name, parameter in parameters if not pattern.fullmatch(name))
    return query
