"""A request, the route that it takes, and the outcome."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field

from forebay.transport.heads import Head
from forebay.transport.proxies import Proxy
from forebay.transport.settings import Limits
from forebay.transport.signing import Credentials
from forebay.transport.tls import TLS
from forebay.transport.transport_errors import Kind, TransportError, redacted

#: Whether an IP address may be connected to.
Guard = Callable[[str], bool]

GOOD = frozenset(range(200, 300))


@dataclass(frozen=True, eq=False, slots=True)
class Route:
    """The way to a server. Requests that share one share prepared handles, so make one and keep it.

    Attributes:
        tls: whom to trust, and which certificate to show.
        proxy: the proxy to go through.
        guard: asked about every address before it is connected to, and again about that of a connection
            that is used anew, so that a name that changes its address (DNS rebinding) gains nothing. A
            proxy's address is not asked about: there only hosts that are spelled as an address are, and
            the proxy decides about the others.
        http2: whether to offer HTTP/2 to TLS servers.
        decode: whether to undo gzip and deflate, which a request asks for by a header of its own. Else, and
            with other encodings, what comes encoded stays so; `Head.encoding` tells.
    """

    tls: TLS = field(default_factory=TLS)
    proxy: Proxy | None = None
    guard: Guard | None = None
    http2: bool = False
    decode: bool = False


DIRECT = Route()

_USUAL_URL = re.compile(r"(https?://[A-Za-z0-9.:_-]+)/[!-~]*")


@dataclass(slots=True)
class Request:
    """One request. It is not changed any more once it is submitted.

    Attributes:
        method: such as ``GET``.
        url: sent exactly as it is, ``//``, ``.`` and ``..`` included; percent-encoded, without user
            and password.
        headers: pairs of name and value.
        credentials: keys to sign the request with (AWS Signature Version 4).
        body: what is sent along.
        route: the way to the server.
        limits: when to give up; by default those of the transport.
        accept: the statuses whose body goes to the sink. With any other the exchange fails
            (`Kind.REFUSED`), and the outcome has the head and the beginning of the body.
        hops: how many redirects led here.
    """

    url: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    credentials: Credentials | None = field(default=None, repr=False)
    body: bytes = field(default=b"", repr=False)
    route: Route = DIRECT
    limits: Limits | None = None
    accept: Container[int] = GOOD
    hops: int = 0

    @property
    def origin(self) -> str:
        """Scheme, host and port, as they are spelled in the URL."""
        return origin_of(self.url)

    def __repr__(self) -> str:
        return f"Request({self.method} {redacted(self.url)})"


@dataclass(slots=True)
class Outcome:
    """How an exchange ended.

    Attributes:
        head: of the answer; ``None`` where none came, or not all of it.
        error: why it failed; ``None`` where it did not. A `TransportError`, or what the sink raised.
        refusal: the beginning of the body of an answer whose status was not accepted.
        received: bytes of the body that arrived.
        first_byte_seconds: from sending the request to the answer's first byte of body, or its end.
    """

    head: Head | None = None
    error: BaseException | None = None
    refusal: bytes = b""
    received: int = 0
    first_byte_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer in memory, of whatever status."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        return self.head.status


def origin_of(url: str) -> str:
    """The beginning of a URL up to its path.

    Raises:
        TransportError: the URL is none of ``http://`` or ``https://``, has a user in it, or a character
            that may not be sent as it is.
    """
    match = _USUAL_URL.fullmatch(url)
    if match is not None:
        return match[1]
    start = 8 if url.startswith("https://") else 7 if url.startswith("http://") else 0
    end = url.find("/", start)
    origin = url if end < 0 else url[:end]
    if end < 0:
        origin = url.partition("?")[0].partition("#")[0]
    if not start or len(origin) <= start:
        raise TransportError(Kind.REQUEST, url, "only http:// and https:// URLs with a host can be fetched")
    if "@" in origin or "\\" in origin:
        raise TransportError(Kind.REQUEST, url, "the host of this URL has a character that it cannot have")
    if not (url.isascii() and url.isprintable()) or " " in url:
        reason = "the URL has a blank, a control character or a non-ASCII one; percent-encode it"
        raise TransportError(Kind.REQUEST, url, reason)
    return origin
