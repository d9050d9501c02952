"""Sending one request of any source, and following the answers that are not final."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from email.utils import formatdate

from forebay.errors import SourceError
from forebay.transport import Kind, Outcome, Request, Route, TransportError
from forebay.transport.redirects import redirected
from forebay.uri import MediaURI


def conditions(
    span: tuple[int, int] | None,
    etag: str | None,
    if_none_match: str | None,
    if_modified_since: float | None,
) -> Iterator[tuple[str, str]]:
    """The headers that make a request one for a part, or one with a condition."""
    if span is not None:
        yield "Range", f"bytes={span[0]}-{span[1] - 1}"
    # A weak one never matches.
    if etag is not None and not etag.startswith("W/"):
        yield "If-Match", etag
    if if_none_match is not None:
        yield "If-None-Match", if_none_match
    elif if_modified_since is not None:
        yield "If-Modified-Since", formatdate(if_modified_since, usegmt=True)


def follow_redirect(
    uri: MediaURI, request: Request, outcome: Outcome, check: Callable[[str], Route]
) -> Request | None:
    """The request to send after a redirect; where it may not be followed, ``outcome.error`` says so.

    Args:
        check: gives the route to a new URL; raises `SourceError` to refuse it.
    """
    head = outcome.head
    if head is None or not (isinstance(outcome.error, TransportError) and outcome.error.kind is Kind.REFUSED):
        return None
    try:
        return redirected(request, head, check)
    except TransportError as error:
        outcome.error = SourceError(uri.redacted, error.reason)
    except SourceError as error:
        outcome.error = error
    return None
