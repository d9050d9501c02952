"""The HTTP responses of the media route."""

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
from forebay.fiftyone.app.response_bodies import ResponseBody
from forebay.sources.base import Buffer

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_MAX_AGE_SECONDS = 3600
_STATUS = {
    SourceNotAllowedError: 403,
    ObjectNotFoundError: 404,
    AccessDeniedError: 502,
    TransientSourceError: 503,
    UriError: 404,
}

# The first two are those of FiftyOne's own route. The others keep an object from acting as a page of the App.
_HEADERS = {
    "Vary": "Origin",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox",
}


@dataclass
class MediaResponse:
    """A response whose body is read while it is sent.

    Attributes:
        pieces: the body in order; getting the next one blocks.
        body: the object that `pieces` reads from, for `close`.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Iterator[Buffer] = field(default_factory=lambda: iter(()))
    body: ResponseBody | None = None

    def close(self) -> None:
        """Stops reading."""
        if isinstance(self.pieces, Generator):
            self.pieces.close()
        if self.body is not None:
            self.body.close()


def requested_start(headers: Mapping[str, str]) -> int | None:
    """The first byte that a request asks for; ``None`` if that depends on the object."""
    if "if-none-match" in headers:
        return None
    match = _RANGE.match(headers.get("range", "bytes=0-"))
    return 0 if match is None else int(match[1]) if match[1] else None


def from_body(body: ResponseBody, headers: Mapping[str, str], *, name: str, seconds: float) -> MediaResponse:
    """The response to a GET or HEAD request: the whole body, a range of it, or 304.

    Args:
        headers: the request's headers, with names in lower case.
        name: the file's name, whose extension determines the content type.
        seconds: for how long the browser may cache the response.
    """
    response_headers = {
        **_HEADERS,
        "Cache-Control": f"private, max-age={int(min(seconds, _MAX_AGE_SECONDS))}",
    }
    if body.etag:
        response_headers["ETag"] = body.etag
        if _matches(headers.get("if-none-match", ""), body.etag):
            return MediaResponse(304, response_headers, body=body)
    response_headers["Content-Type"] = (
        mimetypes.guess_type(name)[0] or body.content_type or "application/octet-stream"
    )
    response_headers["Accept-Ranges"] = "bytes" if body.ranges else "none"
    span = _requested_range(headers, body) if body.ranges else None
    if span is None or body.size is None:
        if body.size is not None:
            response_headers["Content-Length"] = str(body.size)
        return MediaResponse(200, response_headers, body.pieces(0, body.size), body)
    start, end = span
    if start >= end:
        response_headers |= {"Content-Range": f"bytes */{body.size}", "Content-Length": "0"}
        return MediaResponse(416, response_headers, body=body)
    response_headers |= {
        "Content-Range": f"bytes {start}-{end - 1}/{body.size}",
        "Content-Length": str(end - start),
    }
    return MediaResponse(206, response_headers, body.pieces(start, end), body)


def from_content(content: bytes, *, content_type: str, seconds: float) -> MediaResponse:
    """The response with a body that is in memory."""
    response_headers = {
        **_HEADERS,
        "Cache-Control": f"private, max-age={int(min(seconds, _MAX_AGE_SECONDS))}",
        "Content-Type": content_type,
        "Content-Length": str(len(content)),
    }
    return MediaResponse(200, response_headers, iter((content,)))


def redirect(url: str, *, seconds: float) -> MediaResponse:
    """A redirect to a URL that expires in so many seconds."""
    cached = f"private, max-age={int(min(seconds / 2, _MAX_AGE_SECONDS))}"
    return MediaResponse(307, {**_HEADERS, "Location": url, "Cache-Control": cached, "Content-Length": "0"})


def refusal(status: int, reason: str) -> MediaResponse:
    """A response that gives the browser an error's text."""
    text = reason.encode()
    response_headers = {
        **_HEADERS,
        "Cache-Control": "no-store",
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(text)),
    }
    return MediaResponse(status, response_headers, iter((text,)))


def from_error(error: ForebayError) -> MediaResponse:
    """The response for an error, with a status by its type."""
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 502)
    return refusal(status, str(error))


def _requested_range(headers: Mapping[str, str], body: ResponseBody) -> tuple[int, int] | None:
    """The range that a request asks for; ``None`` for the whole body, empty if it is not satisfiable."""
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
