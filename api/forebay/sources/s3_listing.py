"""Listings of an S3 server, page by page, through the transport."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import quote

from forebay.errors import AccessDeniedError, SourceError
from forebay.sources import failures
from forebay.sources.listings import Page, PageQuery
from forebay.sources.listings.asking import read_page
from forebay.sources.listings.s3_pages import parse_page, query_string
from forebay.sources.s3_access import S3Access, S3CredentialProvider
from forebay.transport import (
    Credentials,
    Limits,
    Outcome,
    Request,
    Route,
    Transport,
    TransportError,
    TransportSettings,
)
from forebay.transport.proxies import proxies_from
from forebay.transport.tls import tls_from
from forebay.uri import MediaURI

_REGION = re.compile(r"<Region>\s*([a-z0-9-]{1,40})\s*</Region>")


class S3Pages:
    """Asks an S3 server for pages.

    Args:
        access: the server, and how it is reached.
        region_of: finds out a bucket's region where an answer does not tell.
    """

    def __init__(self, access: S3Access, region_of: Callable[[str], str | None]) -> None:
        self._access = access
        self._region_of = region_of
        self._regions: dict[str, str] = {}
        self._tls = tls_from(os.environ, verify=access.verify)
        self._proxies = proxies_from(os.environ)
        limits = Limits(connect_seconds=access.connect_timeout, idle_seconds=access.read_timeout)
        self._transport = Transport(TransportSettings(limits=limits))
        self._routes: dict[str, Route] = {}

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        """One page; one attempt.

        Raises:
            PageError: the answer is no page of this listing.
            SourceError: as `forebay.sources.base.Source` has it.
        """
        body = read_page(
            self._transport,
            self.page_request(prefix, query),
            lambda _, outcome: self._elsewhere(prefix, query, outcome),
            lambda outcome: self._failure(prefix, outcome),
        )
        return parse_page(body, query)

    def page_request(self, prefix: MediaURI, query: PageQuery) -> Request:
        """The request for a page; may fetch credentials."""
        region = self._regions.get(prefix.bucket, self._access.region)
        endpoint, in_host = self._access.address(prefix.bucket, region)
        path = "/" if in_host else f"/{quote(prefix.bucket, safe='')}"
        url = f"{endpoint.rstrip('/')}{path}?{query_string(query)}"
        return Request(url, credentials=self._credentials(prefix, region), route=self._route(endpoint))

    def _credentials(self, prefix: MediaURI, region: str) -> Credentials | None:
        provider = self._access.credential_provider
        if not isinstance(provider, S3CredentialProvider):
            return None
        try:
            keys = provider()
            return Credentials(
                keys["access_key_id"] or "", keys["secret_access_key"] or "", keys["token"] or None, region
            )
        except Exception as error:
            reason = f"{provider.description} cannot be used: {error}"
            raise AccessDeniedError(prefix.redacted, reason) from None

    def _route(self, endpoint: str) -> Route:
        route = self._routes.get(endpoint)
        if route is None:
            route = self._routes[endpoint] = Route(tls=self._tls, proxy=self._proxies.for_url(endpoint))
        return route

    def _elsewhere(self, prefix: MediaURI, query: PageQuery, outcome: Outcome) -> Request | None:
        """The request to the region that a bucket turned out to be in."""
        if (
            outcome.head is None
            or outcome.head.status not in (301, 307, 400)
            or prefix.bucket in self._regions
        ):
            return None
        named = _REGION.search(outcome.refusal.decode(errors="replace"))
        region = outcome.head.headers.get("x-amz-bucket-region") or (named[1] if named else None)
        if region is None and outcome.head.status != 400:
            region = self._region_of(prefix.bucket)
        if region is None or region == self._access.region:
            return None
        self._regions[prefix.bucket] = region
        return self.page_request(prefix, query)

    def _failure(self, prefix: MediaURI, outcome: Outcome) -> SourceError:
        description = self._access.credential_provider.description
        if outcome.head is not None:
            code = failures.error_code(outcome.refusal.decode(errors="replace"))
            return failures.refusal(prefix, outcome.head.status, code, credentials=description, to="list")
        error = outcome.error
        if isinstance(error, TransportError):
            reason = error.reason
            if reason.startswith("cannot connect"):
                where = failures.at_server(prefix, error.url)
                reason = reason.replace("cannot connect", f"cannot connect{where}", 1)
            return (
                failures.interrupted(prefix, reason)
                if error.transient
                else SourceError(prefix.redacted, reason)
            )
        return SourceError(prefix.redacted, str(error))
