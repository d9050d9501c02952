"""URLs that name objects of a server of the settings: ``https://minio.example.com/bucket/key``.

Such a URL is read as ``minio://bucket/key`` would be, with the credentials of the settings, and from whatever
address the server has, as the settings name it. It is one only if that URI would be read from just there:
a rule for other buckets of the same server changes nothing. Its entry is that of the URL.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceError, UriError
from forebay.sources.azure_account import azure_account_url
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream, Page, PageQuery, Source
from forebay.sources.client_words import text
from forebay.sources.credential_rules import CredentialRules
from forebay.sources.minio import minio_endpoint
from forebay.transport import Head, Outcome, Request
from forebay.uri import MediaURI, parse


@dataclass(frozen=True, slots=True)
class ServerURI(MediaURI):
    """The URI of an object of a store, given as a URL of its server, which is shown in its place."""

    url: str = field(default="", compare=False)

    @property
    def redacted(self) -> str:
        return self.url


def _s3_endpoint(config: MediaCacheConfig) -> str | None:
    """The endpoint that a setting or a variable names; profiles are not searched, which takes long."""
    given = text(config.extra_client_kwargs.get("s3", {}), "endpoint_url", "s3")
    return given or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


# By scheme: the URL below which a server has its buckets, as settings say; `None` where they name none. No
# server is asked for it.
ENDPOINTS: dict[str, Callable[[MediaCacheConfig], str | None]] = {
    "minio": minio_endpoint,
    "s3": _s3_endpoint,
    "az": azure_account_url,
}


class ServerUrls:
    """Finds the URLs that name objects of the servers of the settings."""

    def __init__(self, config: MediaCacheConfig, rules: CredentialRules) -> None:
        self._rules = rules
        # By scheme and host: the path below which the buckets are, the store's scheme, and its rule.
        self._servers: dict[tuple[str, str], list[tuple[str, str, object]]] = {}
        for scheme, endpoint_of in ENDPOINTS.items():
            for rule in [*(one for one in rules.all if one.scheme == scheme), None]:
                # Settings that are wrong are the error of whatever needs them.
                with contextlib.suppress(ConfigError, UriError, ValueError):
                    endpoint = endpoint_of(rules.settings(rule))
                    if endpoint:
                        server = parse(endpoint.strip().rstrip("/") + "/")
                        place = server.scheme, server.bucket
                        self._servers.setdefault(place, []).append((server.key, scheme, rule))

    def stored(self, uri: MediaURI) -> ServerURI | None:
        """The URI in a store that a URL stands for; ``None`` for any other URL.

        A URL with a query or a login says itself how it is to be read.
        """
        servers = self._servers.get((uri.scheme, uri.bucket)) if uri.is_url else None
        if not servers or "?" in uri.raw or "@" in urlsplit(uri.raw).netloc:
            return None
        for path, scheme, rule in servers:
            bucket, _, key = uri.key.removeprefix(path).partition("/")
            if not uri.key.startswith(path) or not (bucket and key):
                continue
            try:
                bucket, key = (unquote_to_bytes(part).decode() for part in (bucket, key))
            except UnicodeDecodeError:
                continue
            found = ServerURI(uri.raw, scheme, bucket, key, url=uri.redacted)
            if "/" not in bucket and self._rules.of(found) is rule:
                return found
        return None


class ServerSource:
    """Reads what a URL names from the source of its store."""

    def __init__(self, source: Source, stored: Callable[[MediaURI], MediaURI]) -> None:
        self._source = source
        self._stored = stored

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        return self._source.request(
            self._stored(uri),
            span=span,
            etag=etag,
            if_none_match=if_none_match,
            if_modified_since=if_modified_since,
        )

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return self._source.describe(self._stored(uri), head)

    def request_head(self, uri: MediaURI) -> Request | None:
        return self._source.request_head(self._stored(uri))

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return self._source.describe_head(self._stored(uri), head)

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        return self._source.follow(self._stored(uri), request, outcome)

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return self._source.failure(self._stored(uri), outcome)

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        return self._source.open(
            self._stored(uri), if_none_match=if_none_match, if_modified_since=if_modified_since
        )

    def head(self, uri: MediaURI) -> ObjectInfo:
        return self._source.head(self._stored(uri))

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        return self._source.read_range(self._stored(uri), start, end, etag=etag)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        return self._source.read_start(self._stored(uri), size)

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Raises `SourceError`: as `page`."""
        raise self._unlistable(prefix)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        """Raises `SourceError`: the names in a listing are keys, which are no parts of URLs."""
        raise self._unlistable(prefix)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        return self._source.sign(self._stored(uri), expires_seconds=expires_seconds, method=method)

    def explain(self, uri: MediaURI) -> str:
        meant = self._stored(uri)
        return f"read as {meant.scheme}://{meant.bucket}/{meant.key}, with {self._source.explain(meant)}"

    def containers(self) -> Sequence[str]:
        return self._source.containers()

    def _unlistable(self, prefix: MediaURI) -> SourceError:
        meant = self._stored(prefix)
        reason = f"URLs cannot be listed; write {meant.scheme}://{meant.bucket}/{meant.key}"
        return SourceError(prefix.redacted, reason)
