"""Reads sources whose requests bear a token in the header Authorization, where there is one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from forebay.errors import SourceError
from forebay.sources import failures
from forebay.sources.asking import follow_redirect
from forebay.sources.listings.page_requests import read_page
from forebay.sources.reader import WHOLE, Reader
from forebay.sources.routes import Routes
from forebay.transport import Limits, Outcome, Request, Transport
from forebay.uri import MediaURI


class BearerTokens(Protocol):
    """Tokens that are kept fresh."""

    def current(self, uri: MediaURI) -> str:
        """The value of the header Authorization; empty for none. May ask other servers.

        Raises:
            AccessDeniedError: no token can be had, for ``uri``.
            TransientSourceError: the server that gives tokens cannot be reached.
        """

    def expire(self, authorization: str | None) -> None:
        """Has the next call renew the token that a server has refused, unless that has been done."""


class BearerReader(Reader):
    """The part of a source that follows from its tokens.

    Args:
        headers: sent with each request.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: BearerTokens,
        routes: Routes,
        limits: Limits,
        headers: Sequence[tuple[str, str]],
    ) -> None:
        super().__init__(transport)
        self._tokens = tokens
        self._routes = routes
        self._limits = limits
        self._headers = headers

    @property
    @abstractmethod
    def description(self) -> str:
        """The credentials in words, without secrets."""

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        if outcome.head is None or outcome.head.status != 401:
            return follow_redirect(uri, request, outcome, lambda url: self._routes.redirected(request, url))
        used = dict(request.headers).get("Authorization")
        try:
            self._tokens.expire(used)
            fresh = self._tokens.current(uri)
        except SourceError as error:
            outcome.error = error
            return None
        if used is None or fresh in ("", used):
            return None
        kept = [pair for pair in request.headers if pair[0] != "Authorization"]
        return replace(request, headers=[*kept, ("Authorization", fresh)])

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return failures.failure_of(uri, outcome, credentials=self.description)

    def get(self, uri: MediaURI, url: str) -> bytes:
        """The answer to a GET that is no object: a listing, for a URI that errors are to name.

        Raises:
            SourceError: as `forebay.sources.base.Source` has it.
        """
        request = Request(
            url,
            headers=[*self._headers, *self._authorization(uri)],
            route=self._routes.to(url, decode=True),
            limits=self._limits,
            accept=WHOLE,
        )
        return read_page(
            self.transport,
            request,
            lambda request, outcome: self.follow(uri, request, outcome),
            lambda outcome: failures.failure_of(uri, outcome, credentials=self.description, to="list"),
        )

    def _authorization(self, uri: MediaURI) -> Sequence[tuple[str, str]]:
        token = self._tokens.current(uri)
        return [("Authorization", token)] if token else []
