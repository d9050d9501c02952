"""Parses media URIs, and distinguishes them from local paths."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from forebay.errors import UriError
from forebay.uri.aliases import aliases, canonical
from forebay.uri.entry import entry_name, is_plain, plain_entry
from forebay.uri.local_roots import SCHEME as LOCAL_SCHEME
from forebay.uri.local_roots import file_path, path_below
from forebay.uri.redaction import (
    CONTAINER_AND_ACCOUNT,
    REMOTE_SCHEMES,
    SAS,
    SCHEME,
    URLS,
    plain,
    redact,
    shown,
)

# Clients drop these characters from a URL, or cannot send them, so two URLs would name one object.
_NOT_IN_URL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Clients disagree on the host of an authority that has one of these characters.
_NOT_IN_AUTHORITY = re.compile(r"[\s\\<>\"^`{|}]")


_REMOTE = tuple(f"{scheme}://" for scheme in REMOTE_SCHEMES)


@dataclass(frozen=True, slots=True)
class MediaURI:
    """A parsed remote URI.

    Attributes:
        raw: the URI as it was given; may hold secrets (a signed query string).
        scheme: one of `REMOTE_SCHEMES`, in lower case.
        bucket: the bucket, or the ``host:port`` of a URL.
        key: the object's key, or the path of a URL as it is written there, without the leading ``/``.
        query: the query string of a URL.
        alias: the alias of the scheme by which it was given; empty for none.
    """

    raw: str = field(repr=False)
    scheme: str
    bucket: str
    key: str
    query: str = field(default="", repr=False)
    alias: str = field(default="", compare=False)

    @property
    def is_url(self) -> bool:
        return self.scheme in URLS

    @property
    def redacted(self) -> str:
        """The URI without user name, password and query string: safe to log and to send."""
        path = f"{self.bucket}/{self.key}" if self.bucket else ""
        path = f"/{path}" if self.scheme == LOCAL_SCHEME else path
        return f"{self.alias or self.scheme}://{path}" + ("?…" if self.query else "")

    @property
    def root(self) -> str:
        """What the URIs of its bucket or host begin with; by its alias, if it was given by one."""
        slash = "/" if self.scheme == LOCAL_SCHEME else ""
        return f"{self.alias or self.scheme}://{slash}{self.bucket}/"

    @property
    def entry(self) -> str:
        """The entry's name: the path of its file relative to ``<cache_dir>/media``."""
        return entry_of(self.raw)

    def __str__(self) -> str:
        return self.redacted


def is_local(uri: str) -> bool:
    """Whether ``uri`` is a plain local path (or a ``file://`` URL), which is used as it is."""
    if uri.startswith(_REMOTE) or path_below(uri) is not None:
        return False
    match = SCHEME.match(uri)
    if match is None:
        return not _almost_pattern(aliases()).match(uri)
    return match[1].lower() == "file"


def local_file(uri: str) -> str:
    """The path of a local ``uri``: the URI itself, or the path in a ``file://`` URL."""
    return file_path(uri)


def parse(uri: str) -> MediaURI:
    """Parse a remote URI.

    Raises:
        UriError: the scheme is unknown, the bucket or host is missing, or no server could have it.
    """
    if (path := path_below(uri)) is not None:
        # The first directory stands for the bucket.
        top, _, rest = path[1:].partition("/")
        return MediaURI(uri, LOCAL_SCHEME, top, rest)
    match = SCHEME.match(uri)
    if match is None:
        almost = _almost_pattern(aliases()).match(uri)
        if almost is not None:
            raise _almost(uri, almost)
        raise _error(uri, f"is a local path, not a media URI; expected {_expected()}")
    given = match[1].lower()
    scheme = canonical(given)
    if scheme not in REMOTE_SCHEMES:
        raise _error(uri, f"has the scheme {scheme!r}, which Forebay cannot fetch; expected {_expected()}")
    if scheme in URLS:
        return _parse_url(uri, scheme)
    try:
        os.fsencode(uri)
    except UnicodeEncodeError:
        raise _unwritable(uri) from None
    bucket, _, key = uri[match.end() :].partition("/")
    if not bucket:
        raise _error(uri, f"names no bucket; expected {scheme}://bucket/key")
    if bucket.startswith("arn:"):
        raise _error(uri, "is an ARN; use the access point's alias as the bucket")
    if scheme == "az" and SAS.search(key):
        raise _error(
            uri, "has a SAS in it; set AZURE_STORAGE_SAS_TOKEN, or write the https:// URL with the SAS"
        )
    own_account = scheme == "az" and CONTAINER_AND_ACCOUNT.fullmatch(bucket)
    if ("@" in bucket or ":" in bucket) and not own_account:
        raise _error(
            uri,
            f"has '@' or ':' in its bucket's name, which no {scheme} server allows; "
            "credentials belong in the environment or the settings",
        )
    return MediaURI(uri, scheme, bucket, key, alias=given if given != scheme else "")


def parse_object(uri: str) -> MediaURI:
    """Like `parse`, for a URI that must name one object rather than a prefix.

    Raises:
        UriError: as `parse`, or the URI names no key.
    """
    if is_plain(uri):
        scheme, _, rest = uri.partition("://")
        bucket, _, key = rest.partition("/")
        return MediaURI(uri, scheme, bucket, key)
    parsed = parse(uri)
    if not parsed.key and not parsed.is_url:
        raise _error(uri, f"names a bucket but no object; expected {parsed.scheme}://{parsed.bucket}/key")
    return parsed


@lru_cache(maxsize=1 << 16)
def entry_of(uri: str) -> str:
    """The name of the entry of a remote URI.

    Raises:
        UriError: as `parse_object`.
    """
    plain = plain_entry(uri)
    if plain is not None:
        return plain
    parsed = parse_object(uri)
    try:
        return entry_name(parsed.scheme, parsed.bucket, parsed.key, parsed.query)
    except UnicodeEncodeError:
        raise _unwritable(uri) from None


def uri_text(uri: object, subject: str = "a URI") -> str:
    """A URI, or a local path that may be a path object, as text.

    Args:
        subject: what it is, as the error names it.

    Raises:
        UriError: it is neither.
    """
    if isinstance(uri, str):
        return uri
    if isinstance(uri, os.PathLike) and isinstance(path := os.fspath(uri), str):
        return path
    what = repr(uri) if uri is None or isinstance(uri, int | float) else f"of type {type(uri).__name__}"
    raise UriError(f"{subject} must be a string or a path object, and this is {what}")


def uri_list(uris: Iterable[str | os.PathLike[str]]) -> list[str]:
    """``uris`` as a list of strings.

    Raises:
        UriError: it is a single one (the characters of a string would be taken for local paths), or no list;
            or one of them is no string and no path object, and the message names its position.
    """
    if isinstance(uris, str | bytes | os.PathLike):
        kind = "path object" if isinstance(uris, os.PathLike) else "string"
        raise UriError(f"expected a list of URIs, not one {kind}: write [{shown(uris)}]")
    if not isinstance(uris, Iterable):
        raise UriError(f"expected a list of URIs, and this is {shown(uris)}")
    return [
        uri if isinstance(uri, str) else uri_text(uri, f"the URI at position {position} (counted from 0)")
        for position, uri in enumerate(uris)
    ]


def entries_of(uris: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The entries of those URIs that are remote, each once.

    Raises:
        UriError: as `uri_list`; or a URI cannot be parsed.
    """
    return list(dict.fromkeys(entry_of(uri) for uri in uri_list(uris) if not is_local(uri)))


@lru_cache(maxsize=16)
def _almost_pattern(others: tuple[str, ...]) -> re.Pattern[str]:
    """What is no URI, and is surely meant to be one: `SCHEME` does not match it."""
    schemes = "|".join(map(re.escape, REMOTE_SCHEMES + others))
    return re.compile(rf"(?P<blank>[\s\ufeff\u200b]*)(?P<scheme>{schemes}):/", re.IGNORECASE)


def _error(uri: str, problem: str) -> UriError:
    return UriError(f"{shown(uri)} {problem}", uri=plain(uri))


def _unwritable(uri: str) -> UriError:
    """The error for a URI with characters that no file name of this process can have."""
    encoding = sys.getfilesystemencoding()
    if encoding == "utf-8":
        return _error(uri, "holds half of a surrogate pair, which no key can")
    return _error(
        uri,
        f"has characters that names of files cannot have in this process, which encodes them as {encoding}: "
        "set PYTHONUTF8=1, or LC_ALL=C.UTF-8",
    )


def _almost(uri: str, match: re.Match[str]) -> UriError:
    """The error for what would be a remote URI but for a slip; as a local path, it would fail much later."""
    meant = redact(f"{match['scheme'].lower()}://{uri[match.end() :].lstrip('/')}")
    if match["blank"]:
        return UriError(f"the URI begins with white space: write {meant!r}", uri=meant)
    return UriError(
        f"the URI has one slash after its scheme, as it has in a path object: write {meant!r}, as a string",
        uri=meant,
    )


def _expected() -> str:
    return (
        "s3://bucket/key, gs://bucket/key, minio://bucket/key, az://container/blob, an http(s):// URL, "
        "or a local path"
    )


def _parse_url(uri: str, scheme: str) -> MediaURI:
    if _NOT_IN_URL.search(uri):
        raise _error(uri, "holds a control character or invalid UTF-8; percent-encode it")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text may repeat the password
        raise _error(uri, "is not a valid URL: its host or port cannot be read") from None
    if not host:
        raise _error(uri, f"names no host; expected {scheme}://host/path")
    if _NOT_IN_AUTHORITY.search(parts.netloc):
        raise _error(uri, "is not a valid URL: its host holds a character that no host may")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != {"http": 80, "https": 443}[scheme]:
        host = f"{host}:{port}"
    return MediaURI(uri, scheme, host, parts.path[1:], parts.query)
