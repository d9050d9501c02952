"""``gs://bucket/key``: Google Cloud Storage.

Bytes come over the XML API: an object's etag is another one in the JSON API, and must not depend on who
asked. Listings come over the JSON API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from forebay.config import MediaCacheConfig
from forebay.errors import ObjectNotFoundError, SourceError
from forebay.sources import answers, failures, gcs_client
from forebay.sources.asking import conditions, follow_redirect
from forebay.sources.base import ObjectInfo, Page, PageQuery
from forebay.sources.gcs_access import GCSAccess, gcs_access
from forebay.sources.listings.gcs_pages import parse_page, query_string
from forebay.sources.listings.page_requests import read_page
from forebay.sources.reader import WHOLE, WHOLE_OR_PART, Reader
from forebay.sources.routes import Routes, transport_of
from forebay.transport import Head, Outcome, Request, Transport
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


class GCSSource(Reader):
    """Reads the buckets that one set of Google credentials reaches."""

    def __init__(self, access: GCSAccess, transport: Transport) -> None:
        super().__init__(transport)
        self.access = access
        self._routes = Routes(access.tls, access.proxies)

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
        headers = [("Accept-Encoding", "gzip"), *self.access.headers.items()]
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

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        if outcome.head is not None and outcome.head.status == 401:
            used = dict(request.headers).get("Authorization")
            try:
                self.access.tokens.expire(used)
                fresh = self._authorization(uri)
            except SourceError as error:
                outcome.error = error
                return None
            if used is None or not fresh or fresh[0][1] == used:
                return None
            kept = [pair for pair in request.headers if pair[0] != "Authorization"]
            return replace(request, headers=[*kept, *fresh])
        return follow_redirect(uri, request, outcome, lambda url: self._routes.redirected(request, url))

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return failures.failure_of(uri, outcome, credentials=self.access.tokens.description)

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

    def containers(self) -> Sequence[str]:
        return gcs_client.list_buckets(self.get, self.access)

    def url(self, uri: MediaURI) -> str:
        """The URL of an object. With slashes encoded too, no proxy can take ``..`` for a step upwards."""
        return f"{self.access.endpoint}/{quote(uri.bucket, safe='')}/{quote(uri.key, safe='')}"

    def get(self, uri: MediaURI, url: str) -> bytes:
        """The answer of the JSON API to a GET, for a URI that errors are to name.

        Raises:
            SourceError: as `forebay.sources.base.Source` has it.
        """
        headers = [*self.access.headers.items(), *self._authorization(uri)]
        return read_page(
            self.transport,
            Request(
                url,
                headers=headers,
                route=self._routes.to(url, decode=True),
                limits=self.access.limits,
                accept=WHOLE,
            ),
            lambda request, outcome: self.follow(uri, request, outcome),
            lambda outcome: failures.failure_of(
                uri, outcome, credentials=self.access.tokens.description, to="list"
            ),
        )

    def _authorization(self, uri: MediaURI) -> Sequence[tuple[str, str]]:
        token = self.access.tokens.current(uri)
        return [("Authorization", token)] if token else []
