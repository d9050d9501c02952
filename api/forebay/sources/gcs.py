"""``gs://bucket/key``: Google Cloud Storage.

Bytes come over the XML API: an object's etag is another one in the JSON API, and must not depend on who
asked. Listings come over the JSON API.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from forebay.config import MediaCacheConfig
from forebay.errors import ObjectNotFoundError
from forebay.sources import answers, checksums, failures, gcs_client
from forebay.sources.asking import conditions
from forebay.sources.base import ObjectInfo, Page, PageQuery
from forebay.sources.bearer_reader import BearerReader
from forebay.sources.gcs_access import GCSAccess, gcs_access
from forebay.sources.listings.gcs_pages import parse_page, query_string
from forebay.sources.reader import WHOLE, WHOLE_OR_PART
from forebay.sources.routes import Routes, transport_of
from forebay.transport import Head, Request, Transport
from forebay.uri import MediaURI


def gcs_source(config: MediaCacheConfig, transport: Transport | None = None) -> GCSSource:
    """The source of ``gs://`` URIs; configured as `forebay.sources.gcs_access` describes.

    Args:
        transport: moves the bytes; by default one of its own.

    Raises:
        ConfigError: the credentials cannot be used.
        SourceError: google-cloud-storage is not installed.
    """
    return GCSSource(gcs_access(config), transport or transport_of(config))


class GCSSource(BearerReader):
    """Reads the buckets that one set of Google credentials reaches."""

    def __init__(self, access: GCSAccess, transport: Transport) -> None:
        routes = Routes(access.tls, access.proxies)
        super().__init__(transport, access.tokens, routes, access.limits, tuple(access.headers.items()))
        self.access = access

    @property
    def description(self) -> str:
        return self.access.tokens.description

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        # Objects stored with Content-Encoding: gzip are sent as they are stored only to those who accept
        # gzip; for all others the server unpacks them, with neither a size nor a checksum.
        headers = [("Accept-Encoding", "gzip"), *self._headers]
        headers += conditions(span, etag, if_none_match, if_modified_since)
        headers += self._authorization(uri)
        url = self.url(uri)
        return Request(
            url,
            headers=headers,
            route=self._routes.to(url, decode=not answers.keeps_encoding(uri)),
            limits=self.access.limits,
            accept=WHOLE if span is None else WHOLE_OR_PART,
        )

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        stored = head.headers.number("x-goog-stored-content-length")
        unpacked = (head.headers.get("x-goog-stored-content-encoding") or "identity") != "identity"
        size = None if unpacked and not head.encoding else stored
        return answers.describe(uri, head, md5=answers.md5_of(head), size=size)

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        info = self.describe(uri, head)
        # Objects that were composed of others have this one only.
        found = answers.google_crc32c(head) if "crc32c" in checksums.comparable() else None
        return info if info.size is None or found is None else info._replace(checksum=("crc32c", found))

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        url = f"{self.access.endpoint}/storage/v1/b/{quote(prefix.bucket, safe='')}/o"
        try:
            body = self.get(prefix, f"{url}?{query_string(query)}")
        except ObjectNotFoundError:
            # A listing of nothing is an empty one.
            raise failures.refusal(prefix, 404, "NoSuchBucket") from None
        return parse_page(body, query)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        return gcs_client.sign(
            self.access, uri, self.url(uri), expires_seconds=expires_seconds, method=method
        )

    def explain(self, uri: MediaURI) -> str:
        payer = self.access.headers.get("x-goog-user-project")
        return f"{self.access.tokens.description}; at {self.access.endpoint}" + (
            f", paid by the project {payer}" if payer else ""
        )

    def containers(self) -> Sequence[str]:
        return gcs_client.list_buckets(self.get, self.access)

    def url(self, uri: MediaURI) -> str:
        """The URL of an object. With slashes encoded too, no proxy can take ``..`` for a step upwards."""
        key = quote(uri.key, safe="", errors="surrogateescape")
        return f"{self.access.endpoint}/{quote(uri.bucket, safe='')}/{key}"
