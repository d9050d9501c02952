"""Asks for a page through the transport, and for those that follow from its answer, until there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from forebay.errors import SourceError
from forebay.sources.base import ObjectInfo, Page, PageQuery
from forebay.sources.listings.pages import objects_of
from forebay.sources.listings.walk import Start, walk
from forebay.transport import Kind, Outcome, Request, Transport, TransportError
from forebay.uri import MediaURI

_MAX_PAGE_BYTES = 32 << 20


def read_page(
    transport: Transport,
    request: Request,
    follow: Callable[[Request, Outcome], Request | None],
    failure: Callable[[Outcome], SourceError],
) -> bytes:
    """The body of an answer of status 200. Waits, so it is never called on a transport's thread.

    Args:
        follow: the request to send after an outcome that is not final; ``None`` where it is.
        failure: the error that a failed outcome means.

    Raises:
        SourceError: what ``failure`` made of the outcome.
    """
    while True:
        try:
            response = transport.call(request, max_bytes=_MAX_PAGE_BYTES)
        except TransportError as error:
            outcome = Outcome(error=error)
        else:
            if response.status == 200:
                return response.body
            refused = TransportError(Kind.REFUSED, request.url, f"the server answered {response.status}")
            outcome = Outcome(response.head, refused, response.body)
        following = follow(request, outcome)
        if following is None:
            raise failure(outcome) from None
        request = following


def list_in_order(
    prefix: MediaURI, ask: Callable[[PageQuery], Page], *, recursive: bool = True
) -> Iterator[ObjectInfo]:
    """The objects below a prefix, as `Source.list` has it, from a function that asks for one page.

    Raises:
        SourceError: what ``ask`` raised; the listing makes no sense.
    """
    root = prefix.root
    query = PageQuery(prefix.key, delimiter="" if recursive else "/")
    for _, page in walk([Start(prefix.redacted, ask, query)], in_flight=1):
        yield from objects_of(page, root, prefix.redacted)
        for folder in page.folders:
            yield ObjectInfo(root + folder)


def holds_any(prefix: MediaURI, ask: Callable[[PageQuery], Page]) -> bool:
    """Whether there is any object below a prefix; asks for one at a time.

    Raises:
        SourceError: as `list_in_order`.
    """
    start = Start(prefix.redacted, ask, PageQuery(prefix.key, max_keys=1))
    return any(page.keys for _, page in walk([start], in_flight=1))
