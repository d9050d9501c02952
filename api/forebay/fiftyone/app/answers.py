"""What the media route answers to one request."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field

from forebay.errors import (
    AccessDeniedError,
    ForebayError,
    ObjectNotFoundError,
    SourceNotAllowedError,
    TransientSourceError,
    UriError,
)
from forebay.fiftyone.app.bodies import Body
from forebay.sources.base import Buffer

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_FRESH_SECONDS = 3600
_STATUS = {
    SourceNotAllowedError: 403,
    ObjectNotFoundError: 404,
    AccessDeniedError: 502,
    TransientSourceError: 503,
    UriError: 404,
}

# As FiftyOne's own route has them; and what comes from a bucket is never a page of the App's.
_HEADERS = {
    "Vary": "Origin",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
}


@dataclass
class Answer:
    """One answer, of which everything but the body's further pieces is known.

    Attributes:
        pieces: the body; blocks.
        body: what `pieces` reads from, which is closed after it.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterator[Buffer] = field(default_factory=lambda: iter(()))
    body: Body | None = None

    def close(self) -> None:
        """Gives up what has not been read."""
        if isinstance(self.pieces, Generator):
            self.pieces.close()
        if self.body is not None:
            self.body.close()


def wanted_start(headers: Mapping[str, str]) -> int | None:
    """The first byte that a request asks for; ``None`` where that depends on the object."""
    if "if-none-match" in headers:
        return None
    match = _RANGE.match(headers.get("range", "bytes=0-"))
    return 0 if match is None else int(match[1]) if match[1] else None


def of_body(body: Body, headers: Mapping[str, str], *, name: str, seconds: float) -> Answer:
    """The answer to a GET or HEAD request, whole or in part as its headers ask.

    Args:
        headers: the request's, their names in lower case.
        name: the file's, by whose extension the browser is told what it is.
        seconds: for how long the browser may use what it gets.
    """
    known = {**_HEADERS, "Cache-Control": f"private, max-age={int(min(seconds, _FRESH_SECONDS))}"}
    if body.etag:
        known["ETag"] = body.etag
        if _matches(headers.get("if-none-match", ""), body.etag):
            return Answer(304, known, body=body)
    known["Content-Type"] = mimetypes.guess_type(name)[0] or body.content_type or "application/octet-stream"
    known["Accept-Ranges"] = "bytes" if body.ranges else "none"
    span = _span(headers, body) if body.ranges else None
    if span is None or body.size is None:
        if body.size is not None:
            known["Content-Length"] = str(body.size)
        return Answer(200, known, body.pieces(0, body.size), body)
    start, end = span
    if start >= end:
        known |= {"Content-Range": f"bytes */{body.size}", "Content-Length": "0"}
        return Answer(416, known, body=body)
    known |= {"Content-Range": f"bytes {start}-{end - 1}/{body.size}", "Content-Length": str(end - start)}
    return Answer(206, known, body.pieces(start, end), body)


def of_content(content: bytes, *, content_type: str, seconds: float) -> Answer:
    """An answer that is made up here."""
    known = {
        **_HEADERS,
        "Cache-Control": f"private, max-age={int(min(seconds, _FRESH_SECONDS))}",
        "Content-Type": content_type,
        "Content-Length": str(len(content)),
    }
    return Answer(200, known, iter((content,)))


def elsewhere(url: str, *, seconds: float) -> Answer:
    """Sends the browser to a URL that is good for so long."""
    cached = f"private, max-age={int(min(seconds / 2, _FRESH_SECONDS))}"
    return Answer(307, {**_HEADERS, "Location": url, "Cache-Control": cached, "Content-Length": "0"})


def refusal(status: int, why: str) -> Answer:
    text = why.encode()
    known = {
        **_HEADERS,
        "Cache-Control": "no-store",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(text)),
    }
    return Answer(status, known, iter((text,)))


def of_error(error: ForebayError) -> Answer:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 502)
    return refusal(status, str(error))


def _span(headers: Mapping[str, str], body: Body) -> tuple[int, int] | None:
    """The part that a request asks for; ``None`` for the whole, empty for one that is not there."""
    match = _RANGE.match(headers.get("range", ""))
    if match is None or match[0] == "bytes=-" or body.size is None:
        return None
    condition = headers.get("if-range")
    if condition is not None and condition != body.etag:
        return None
    if not match[1]:
        return max(body.size - int(match[2]), 0), body.size
    start = int(match[1])
    end = min(int(match[2]) + 1, body.size) if match[2] else body.size
    return start, end


def _matches(condition: str, etag: str) -> bool:
    plain = etag.removeprefix("W/")
    return any(one.strip().removeprefix("W/") in (plain, "*") for one in condition.split(","))
