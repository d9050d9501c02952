"""Names the entry of a URI.

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
a block of a large object               ``%p/`` and more after the object's entry (`forebay.uri.blocks`)
======================================  ==========================================

The mapping is injective. It never depends on what else is in the cache, with one exception that a
file system forces: where the key ``a`` is cached as a file, ``a/b`` cannot lie below it. Whichever
comes second goes to its `Layout.alternate_path`, where directories carry a trailing ``%`` and so
cannot meet a file's name.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from forebay.uri.local_roots import SCHEME as LOCAL_SCHEME
from forebay.uri.redaction import REMOTE_SCHEMES, URLS

MAX_SEGMENT_BYTES = 240
_ENTRY_SCHEMES = (*REMOTE_SCHEMES, LOCAL_SCHEME)
_MAX_KEY_BYTES = 1500

# A bucket and a short ASCII key without anything to escape: the entry is the URI itself.
_PLAIN = re.compile(
    r"(?!az:[^?]*\?)(?:s3|gs|minio|az)://[a-z0-9][a-z0-9._-]*"
    r"(?:/(?!\.{0,2}(?:/|\Z))[A-Za-z0-9 !$&'()+,;=@^_`{}~.\-#?*:\[\]|<>\"]+)+\Z"
)
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f%\\]")
_EXTENSION = re.compile(r"(?:\.tar)?\.[A-Za-z0-9]{1,10}\Z")
_PERCENT_ENCODED = re.compile(r"%[0-9a-fA-F]{2}")
# Characters that mean the same in a URL whether they are percent-encoded or not (RFC 3986, 2.3),
# and those that must be encoded in every path: both are decoded in the entry.
_DECODABLE = re.compile(
    rb"%(2[02dDeE]|3[0-9cCeE]|4[1-9a-fA-F]|5[0-9a-fA-F]|6[0-9a-fA-F]|7[0-9a-eA-E]|[89a-fA-F][0-9a-fA-F])"
)
_ESCAPED = re.compile(
    r"(?:[^%\\\x00-\x1f\x7f\ud800-\udfff]|%(?:[01][0-9a-f]|25|2e|5c|7f|[89a-f][0-9a-f]|[-~qp]))+\Z"
)
_OF_A_SIGNATURE = (
    "algorithm|signature|signature-version|credential|date|expires|signed-?headers|additional-headers"
    "|security-token|policy"
)
# The parameters of a signature grant access and do not select an object, so they are no part of an entry's
# identity. Each set is dropped only when it is complete. Clouds that take what AWS takes are not named again.
_SIGNATURES = (
    # AWS, Google, CloudFront and Azure SAS. With temporary keys, a token comes along.
    ({"x-amz-signature"}, re.compile(r"x-amz-.*")),
    ({"x-goog-signature"}, re.compile(r"x-goog-.*")),
    (
        {"signature", "expires", "awsaccesskeyid"},
        re.compile(r"signature|expires|awsaccesskeyid|x-amz-security-token"),
    ),
    ({"signature", "expires", "googleaccessid"}, re.compile(r"signature|expires|googleaccessid")),
    ({"signature", "key-pair-id"}, re.compile(r"signature|expires|policy|key-pair-id")),
    (
        {"sig", "sv"},
        re.compile(r"sig|s[veptri]|spr|sip|ss|srt|ses|sdd|skoid|sktid|skt|ske|sks|skv|saoid|suoid|scid"),
    ),
    # Google's CDN.
    ({"signature", "expires", "keyname"}, re.compile(r"signature|expires|keyname|urlprefix")),
    # Alibaba's OSS; "x-oss-process" is no part of it: it selects a form of the object. So it is below.
    (
        {"signature", "expires", "ossaccesskeyid"},
        re.compile(r"signature|expires|ossaccesskeyid|security-token"),
    ),
    ({"x-oss-signature"}, re.compile(rf"x-oss-(?:{_OF_A_SIGNATURE})")),
    # Huawei's OBS.
    (
        {"signature", "expires", "accesskeyid"},
        re.compile(r"signature|expires|accesskeyid|x-obs-security-token"),
    ),
    ({"x-obs-signature"}, re.compile(rf"x-obs-(?:{_OF_A_SIGNATURE})")),
    # Tencent's COS.
    (
        {"q-signature"},
        re.compile(
            r"q-(?:sign-algorithm|ak|sign-time|key-time|header-list|url-param-list|signature)"
            r"|x-cos-security-token"
        ),
    ),
    # Volcengine's TOS, Kingsoft's KS3, NetEase's NOS, Baidu's BOS.
    ({"x-tos-signature"}, re.compile(rf"x-tos-(?:{_OF_A_SIGNATURE})")),
    ({"x-kss-signature"}, re.compile(rf"x-kss-(?:{_OF_A_SIGNATURE})")),
    (
        {"signature", "expires", "kssaccesskeyid"},
        re.compile(r"signature|expires|kssaccesskeyid|x-kss-security-token"),
    ),
    ({"signature", "expires", "nosaccesskeyid"}, re.compile(r"signature|expires|nosaccesskeyid|x-nos-token")),
    ({"authorization"}, re.compile(r"authorization|x-bce-security-token")),
)


def plain_entry(uri: str) -> str | None:
    """The entry of a short URI of a bucket without anything to escape, else ``None``.

    It is the URI itself, which needs no parsing; most URIs are of this kind.
    """
    return uri.replace("://", "/", 1) if is_plain(uri) else None


def is_plain(uri: str) -> bool:
    """Whether a URI is a short one of a bucket without anything to escape."""
    return len(uri) <= MAX_SEGMENT_BYTES and _PLAIN.match(uri) is not None


def entry_name(scheme: str, bucket: str, key: str, query: str) -> str:
    """The name of the entry of a URI that has been parsed into these parts."""
    if scheme in URLS:
        path = key
        if len(_PERCENT_ENCODED.findall(path)) != path.count("%"):
            # A "%" that begins no escape is literal, and clients then encode every "%" of the path.
            path = path.replace("%", "%25")
        segments = [_DECODABLE.sub(_decode_one, s.encode()) for s in path.split("/")]
    else:
        segments = [os.fsencode(s) for s in key.split("/")]
    names = [_escape_segment(s) for s in segments]
    identity = _identity_of_query(query)
    if identity:
        stem, extension = _split_extension(names[-1])
        names[-1] = f"{stem}%q{_digest(identity.encode())}{extension}"
    names = [_shorten(name) for name in names]
    name = "/".join(names)
    if len(os.fsencode(name)) > _MAX_KEY_BYTES:
        name = f"%~{_digest(os.fsencode('/'.join(names[:-1])))}/{names[-1]}"
    return f"{scheme}/{_shorten(_escape_segment(os.fsencode(bucket)))}/{name}"


def is_entry(name: str) -> bool:
    """Whether a name is one that `entry_name` makes: a scheme, a bucket and a key, each part escaped."""
    scheme, *parts = name.split("/")
    if scheme not in _ENTRY_SCHEMES or len(parts) < 2:
        return False
    return all(part not in (".", "..") and _ESCAPED.match(part) is not None for part in parts)


def uri_of(entry: str) -> str | None:
    """The URI that an entry was made from, or ``None`` if a hash replaced a part of it."""
    scheme, _, rest = entry.partition("/")
    bucket, _, key = rest.partition("/")
    if "%~" in entry or "%q" in entry or "%p/" in entry or not key or scheme not in _ENTRY_SCHEMES:
        return None
    segments = [b"" if s == "%-" else unquote_to_bytes(s) for s in key.split("/")]
    if scheme in URLS:
        # A percent-encoding that is left after unescaping was in the URL.
        key = "/".join(quote(s, safe="%!$&'()*+,;=:@~") for s in segments)
    elif scheme == LOCAL_SCHEME:
        return f"file:///{bucket}/{quote(b'/'.join(segments), safe='/!$&()*+,;=:@~')}"
    else:
        key = os.fsdecode(b"/".join(segments))
    return f"{scheme}://{os.fsdecode(unquote_to_bytes(bucket))}/{key}"


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
    if len(encoded) <= MAX_SEGMENT_BYTES:
        return name
    stem, extension = _split_extension(name)
    beginning = os.fsencode(stem)[:120].decode(errors="ignore")
    # The cut may have split an escape; the rest of one would read as a literal "%".
    beginning = re.sub(r"%[0-9a-f]?\Z", "", beginning)
    return f"{beginning}%~{_digest(encoded)}{extension}"


def _digest(value: bytes) -> str:
    import hashlib  # Few names need it, and it loads OpenSSL.

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
