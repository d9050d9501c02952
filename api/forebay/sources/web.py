"""Metadata, bodies and errors from the answers that requests receives."""

from __future__ import annotations

import base64
import binascii
import contextlib
import netrc  # noqa: F401 - requests would import it at its first request otherwise; see `per_process`
import re
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import Self

from forebay.errors import SourceError
from forebay.sources import failures
from forebay.sources.base import Beginning, Buffer, ObjectInfo
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from requests import Response

_CHUNK_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_GOOGLE_MD5 = re.compile(r"\bmd5=([A-Za-z0-9+/]{22}==)")
# Exceptions of requests, urllib3 and http.client that another attempt does not cure, and those that
# it may; the first name that is found along an exception's base classes decides.
_HOPELESS = {
    "SSLError": "the server's TLS certificate is not trusted",
    "InvalidProxyURL": "the proxy's URL is not valid",
    "ContentDecodingError": "the body is not encoded as its Content-Encoding says",
    "DecodeError": "the body is not encoded as its Content-Encoding says",
    "JSONDecodeError": "the answer is not the JSON that it should be",
    "ValueError": "the URL, or the one that it redirects to, is not valid",
}
_PASSING = {
    "ConnectTimeout": "timed out: cannot connect",
    "ConnectTimeoutError": "timed out: cannot connect",
    "ReadTimeout": "timed out: nothing arrived for too long",
    "ReadTimeoutError": "timed out: nothing arrived for too long",
    "ProxyError": "the proxy cannot be reached or refuses",
    "ChunkedEncodingError": "the answer ended early",
    "IncompleteRead": "the answer ended early",
    "ConnectionError": "cannot connect, or the connection was lost",
    "HTTPException": "the connection was lost",
    "HTTPError": "the connection was lost",
    "OSError": "the connection was lost",
}


class WebObject:
    """An answer to a request made with ``stream=True``, of which only the headers have been read.

    Args:
        decode: whether to undo a Content-Encoding. A web server may apply one although it was asked not
            to; what a bucket holds encoded is kept as it is stored.
    """

    def __init__(self, uri: MediaURI, response: Response, *, decode: bool = True) -> None:
        self.info = describe(uri, response, decode=decode)
        self._uri = uri
        self._response = response
        self._decode = decode and _is_encoded(response)

    def __iter__(self) -> Iterator[Buffer]:
        raw, expected = self._response.raw, _length(self._response)
        try:
            while piece := raw.read(_CHUNK_BYTES, decode_content=self._decode):
                yield piece
            received = raw.tell()
        except Exception as error:
            raise failure(self._uri, error) from None
        if expected is not None and received != expected:
            raise failures.truncated(self._uri, received, expected)

    def close(self) -> None:
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def describe(uri: MediaURI, response: Response, *, decode: bool = True) -> ObjectInfo:
    """An object's metadata, from the headers of an answer to GET or HEAD."""
    headers = response.headers
    size, encoded = _length(response), decode and _is_encoded(response)
    if response.status_code in (206, 416):
        span = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
        size = int(span[3]) if span and span[3] != "*" else None
    return ObjectInfo(
        uri.raw,
        None if encoded else size,
        headers.get("ETag"),
        _modified(headers.get("Last-Modified")),
        content_type=headers.get("Content-Type"),
        md5=None if encoded or response.status_code != 200 else _md5(response),
        ranges=size is not None and not encoded and headers.get("Accept-Ranges", "").lower() == "bytes",
    )


def read_part(
    uri: MediaURI, response: Response, start: int, end: int, etag: str | None, *, decode: bool = True
) -> Buffer:
    """The bytes from ``start`` to ``end`` out of the answer to a request for them."""
    with WebObject(uri, response, decode=decode) as opened:
        if etag is not None and opened.info.etag not in (None, etag):
            raise failures.changed(uri)
        if response.status_code == 206:
            span = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            if span is None or span[1] != str(start) or int(span[2]) >= end:
                raise SourceError(uri.redacted, "the server sent another range than the one asked for")
            data = b"".join(opened)
            if len(data) != int(span[2]) + 1 - start:
                raise failures.truncated(uri, len(data), int(span[2]) + 1 - start)
            return data
        return _cut(opened, start, end)


def read_start(uri: MediaURI, response: Response, size: int, *, decode: bool = True) -> Beginning:
    """The first ``size`` bytes out of the answer to a request for them, and the object's metadata."""
    info = describe(uri, response, decode=decode)
    info = replace(info, ranges=response.status_code == 206 and info.size is not None)
    data = read_part(uri, response, 0, size, None, decode=decode)
    if info.size is None and len(data) < size:
        info = replace(info, size=len(data))
    return Beginning(info, data)


def failure(uri: MediaURI, error: Exception) -> SourceError:
    """The error for an exception of requests or of what lies below it."""
    if isinstance(error, SourceError):
        return error
    names = [kind.__name__ for kind in type(error).__mro__]
    for name in names:
        if name in _HOPELESS:
            return SourceError(uri.redacted, _HOPELESS[name])
    for name in names:
        if name in _PASSING:
            url = getattr(getattr(error, "request", None), "url", None) or ""
            there = f"cannot connect{failures.at_server(uri, url)}"
            return failures.interrupted(uri, _PASSING[name].replace("cannot connect", there))
    return SourceError(uri.redacted, f"requests failed with {type(error).__name__}")


def _cut(opened: WebObject, start: int, end: int) -> Buffer:
    """Cuts the range out of a whole body, which servers without support for ranges send."""
    data, position = bytearray(), 0
    for piece in opened:
        view = memoryview(piece)
        data += view[max(0, start - position) : max(0, end - position)]
        position += len(view)
        if position >= end:
            break
    return data


def _length(response: Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() and "Transfer-Encoding" not in response.headers else None


def _is_encoded(response: Response) -> bool:
    return response.headers.get("Content-Encoding", "").lower() not in ("", "identity", "aws-chunked")


def _modified(text: str | None) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        return parsedate_to_datetime(text or "").timestamp()
    return None


def _md5(response: Response) -> str | None:
    google = _GOOGLE_MD5.search(response.headers.get("x-goog-hash", ""))
    text = google[1] if google else response.headers.get("Content-MD5", "")
    with contextlib.suppress(binascii.Error):
        digest = base64.b64decode(text, validate=True)
        return digest.hex() if len(digest) == 16 else None
    return None
