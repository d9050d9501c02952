"""Parses media URIs, and distinguishes them from local paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_to_bytes, urlsplit

from forebay.errors import UriError
from forebay.uri.entry import entry_name, plain_entry
from forebay.uri.redaction import REMOTE_SCHEMES, SCHEME, URLS, redact

# Clients drop these characters from a URL, or cannot send them, so two URLs would name one object.
_NOT_IN_URL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# Clients disagree on the host of an authority that has one of these characters.
_NOT_IN_AUTHORITY = re.compile(r"[\s\\<>\"^`{|}]")


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
        return self.scheme in URLS

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


def is_local(uri: str) -> bool:
    """Whether ``uri`` is a plain local path (or a ``file://`` URL), which is used as it is."""
    match = SCHEME.match(uri)
    return match is None or match[1].lower() == "file"


def local_file(uri: str) -> str:
    """The path of a local ``uri``: the URI itself, or the path in a ``file://`` URL."""
    if not uri[:7].lower().startswith("file://"):
        return uri
    return os.fsdecode(unquote_to_bytes(urlsplit(uri).path))


def parse(uri: str) -> MediaURI:
    """Parse a remote URI.

    Raises:
        UriError: the scheme is unknown, the bucket or host is missing, or no server could have it.
    """
    match = SCHEME.match(uri)
    if match is None:
        raise _error(uri, f"is a local path, not a media URI; expected {_expected()}")
    scheme = match[1].lower()
    if scheme not in REMOTE_SCHEMES:
        raise _error(uri, f"has the scheme {scheme!r}, which Forebay cannot fetch; expected {_expected()}")
    if scheme in URLS:
        return _parse_url(uri, scheme)
    try:
        os.fsencode(uri)
    except UnicodeEncodeError:
        raise _error(uri, "holds half of a surrogate pair, which no key can") from None
    bucket, _, key = uri[match.end() :].partition("/")
    if not bucket:
        raise _error(uri, f"names no bucket; expected {scheme}://bucket/key")
    if bucket.startswith("arn:"):
        raise _error(uri, "is an ARN; use the access point's alias as the bucket")
    if "@" in bucket or ":" in bucket:
        raise _error(
            uri,
            f"has '@' or ':' in its bucket's name, which no {scheme} server allows; "
            "credentials belong in the environment or the settings",
        )
    return MediaURI(uri, scheme, bucket, key)


def parse_object(uri: str) -> MediaURI:
    """Like `parse`, for a URI that must name one object rather than a prefix.

    Raises:
        UriError: as `parse`, or the URI names no key.
    """
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
    return entry_name(parsed.scheme, parsed.bucket, parsed.key, parsed.query)


def uri_list(uris: Iterable[str]) -> list[str]:
    """``uris`` as a list of strings.

    Raises:
        TypeError: it is a single string, whose characters would be taken for local paths.
    """
    if isinstance(uris, str | bytes):
        raise TypeError(f"expected a list of URIs, not one string: write [{redact(str(uris))!r}]")
    return [os.fspath(uri) for uri in uris]


def entries_of(uris: Iterable[str]) -> list[str]:
    """The entries of those URIs that are remote, each once.

    Raises:
        TypeError: as `uri_list`.
        UriError: a URI cannot be parsed.
    """
    return list(dict.fromkeys(entry_of(uri) for uri in uri_list(uris) if not is_local(uri)))


def _error(uri: str, problem: str) -> UriError:
    shown = redact(uri)
    return UriError(f"{shown!r} {problem}", uri=shown)


def _expected() -> str:
    return "s3://bucket/key, gs://bucket/key, minio://bucket/key, an http(s):// URL, or a local path"


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
