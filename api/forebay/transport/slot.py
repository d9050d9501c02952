"""An easy handle of libcurl, which is used for one exchange after the other."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable

import pycurl

from forebay.transport.decoding import UNDONE, Decoded
from forebay.transport.exchange import Exchange
from forebay.transport.guard import check_literal, refused
from forebay.transport.handles import header_line, prepare, refusal, set_method
from forebay.transport.heads import Head, ends_head, head_of
from forebay.transport.requests import Outcome, Request, Route
from forebay.transport.settings import TransportSettings
from forebay.transport.signing import sign
from forebay.transport.sinks import FULL, BytesSink, Sink
from forebay.transport.transport_errors import Kind, TransportError, failure_of, refusing_proxy


class Hold(enum.Enum):
    """Whether bytes that came have to wait."""

    NO = enum.auto()
    THROTTLE = enum.auto()
    #: For something more urgent from the same host.
    GIVES_WAY = enum.auto()


class Slot:
    """A handle, prepared for the exchanges of one route.

    Attributes:
        curl: the handle.
        exchange: under way.
        limits: of the exchange.
        deadline: when the exchange has taken too long as a whole; seconds of the monotonic clock.
        is_plain: whether the handle is as it was prepared, so that it can be used again.
        is_paused: whether the sink takes nothing now, which is not the server's fault.
        is_held: whether bytes that came wait, so that no more come than may.
        held_at: since when.

    Args:
        paused: is told when an exchange is paused (true), and when it goes on.
        admits: says whether so many bytes of an exchange may be taken now, and notes that they are.
        held: is told when bytes wait because they may not, until `let_through`.
    """

    def __init__(
        self,
        settings: TransportSettings,
        paused: Callable[[Exchange, bool], None],
        admits: Callable[[Exchange, int, bool], Hold],
        held: Callable[[Slot], object],
    ) -> None:
        self.curl = pycurl.Curl()
        self.route: Route | None = None
        self.is_plain = True
        self._settings = settings
        self._paused = paused
        self._admits = admits
        self._held = held
        self._lines: list[bytes] = []
        self._headers: list[str] = []
        self._connect_seconds = -1.0
        self._forget()

    def _forget(self) -> None:
        self.exchange: Exchange | None = None
        self.is_paused = self.is_held = self._gives_way = self._is_passing = False
        self.held_at = 0.0
        self._write: Callable[[bytes], object] = self._write_first
        self._head: Head | None = None
        self._error: BaseException | None = None
        self._refusal: BytesSink | None = None
        self._refused = ""
        self._first_byte = 0.0

    # Before

    def prepare(self, route: Route) -> None:
        """Makes the handle ready for the exchanges of a route, whatever it was used for before."""
        prepare(self.curl, route, self._settings, self._refuse)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._receive)
        self.route = route
        self.is_plain = True
        self._headers = []
        self._connect_seconds = -1.0

    def load(self, exchange: Exchange, now: float) -> None:
        """Makes the handle ready to send a request.

        Raises:
            TransportError: it cannot be sent.
        """
        self._lines.clear()
        self.exchange, self._began = exchange, now
        self._sink = exchange.sink
        request, curl = exchange.request, self.curl
        self.limits = limits = request.limits or self._settings.limits
        self.deadline = now + limits.total_seconds
        # When the least rate was last looked at, and what had arrived by then; since when nothing has.
        self._marked_at = self._quiet_since = now
        self._marked_bytes = self._quiet_bytes = 0
        route = request.route
        if route.guard is not None and route.proxy is not None:
            check_literal(route.guard, request.url)
        try:
            curl.setopt(pycurl.URL, request.url)
            if limits.connect_seconds != self._connect_seconds:
                curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(limits.connect_seconds * 1000)))
                self._connect_seconds = limits.connect_seconds
            self._set_headers(request)
            if request.method != "GET" or request.body:
                self.is_plain = False
                set_method(curl, request)
        except (pycurl.error, ValueError, TypeError, UnicodeError):
            reason = "the request has a value that cannot be sent"
            raise TransportError(Kind.REQUEST, request.url, reason) from None

    def _set_headers(self, request: Request) -> None:
        headers, credentials = request.headers, request.credentials
        wanted = [header_line(name, value) for name, value in headers]
        if credentials is not None:
            wanted += sign(request.method, request.url, headers, credentials, body=request.body)
        if request.body:
            # libcurl would add both by itself.
            names = {name.lower() for name, _ in headers}
            wanted += [f"{name}:" for name in ("Expect", "Content-Type") if name.lower() not in names]
        if wanted != self._headers:
            # An empty list would leave the former headers, secrets among them, where they are.
            if wanted:
                self.curl.setopt(pycurl.HTTPHEADER, wanted)
            else:
                self.curl.unsetopt(pycurl.HTTPHEADER)
            self._headers = wanted

    # Meanwhile

    def arrived(self) -> int:
        """Bytes that have come or gone so far: of head lines, of the body, and of the request's body."""
        sent = 0 if self.is_plain else int(self.curl.getinfo(pycurl.SIZE_UPLOAD_T))
        return int(self.curl.getinfo(pycurl.SIZE_DOWNLOAD_T)) + sum(map(len, self._lines)) + sent

    def is_late(self, now: float) -> bool:
        """Whether the exchange must be given up, as a limit is passed; then notes why."""
        limits, arrived = self.limits, self.arrived()
        if now >= self.deadline:
            self.fail(Kind.TIMEOUT, f"timed out: the whole took longer than {limits.total_seconds:g} s")
            return True
        if self.is_paused or self.is_held:
            return False
        if arrived != self._quiet_bytes:
            self._quiet_bytes, self._quiet_since = arrived, now
        elif now - self._quiet_since >= limits.idle_seconds:
            proxy = self.exchange.request.route.proxy if self.exchange is not None else None
            through = "" if proxy is None else f" through the proxy {proxy.shown}"
            self.fail(Kind.TIMEOUT, f"timed out: nothing arrived for {limits.idle_seconds:g} s{through}")
            return True
        elapsed = now - self._marked_at
        if elapsed >= limits.min_rate_seconds:
            # Until the first byte the server thinks, which has a limit of its own.
            if arrived and arrived - self._marked_bytes < limits.min_rate * elapsed:
                rate = f"fewer than {limits.min_rate} bytes a second arrived"
                self.fail(Kind.TOO_SLOW, f"too slow: {rate}")
                return True
            self._marked_at, self._marked_bytes = now, arrived
        return False

    def fail(self, kind: Kind, reason: str) -> None:
        """Says why the exchange is given up."""
        self._error = TransportError(kind, self._url, reason)

    def _refuse(self, address: str) -> None:
        self._refused = address

    def _receive(self, chunk: bytes) -> int | None:
        assert self.exchange is not None
        hold = self._admits(self.exchange, len(chunk), self._is_passing)
        if hold is not Hold.NO:
            self.is_held, self.held_at = True, time.monotonic()
            if hold is Hold.GIVES_WAY:
                self._gives_way = True
                self._paused(self.exchange, True)
            self._held(self)
            return int(pycurl.WRITEFUNC_PAUSE)
        self._is_passing = False
        try:
            if self._write(chunk) is FULL:
                self.is_paused = True
                self._paused(self.exchange, True)
                return int(pycurl.WRITEFUNC_PAUSE)
        except BaseException as error:
            self._error = error
            return -1
        return None

    def resume(self) -> None:
        """Offers the sink again what it did not take."""
        if self.is_paused and self.exchange is not None:
            self.is_paused = False
            self._paused(self.exchange, False)
            self._quiet_since = self._marked_at = time.monotonic()
            self.curl.pause(pycurl.PAUSE_CONT)

    def let_through(self, *, passing: bool = False) -> None:
        """Takes the bytes that wait, unless the exchange has ended.

        Args:
            passing: also where it still has to give way, so that its server does not hang up.
        """
        if self.is_held and self.exchange is not None:
            self.is_held, self._is_passing = False, passing
            self._go_on()
            self._quiet_since = self._marked_at = time.monotonic()
            self.curl.pause(pycurl.PAUSE_CONT)

    def _go_on(self) -> None:
        if self._gives_way and self.exchange is not None:
            self._gives_way = False
            self._paused(self.exchange, False)

    def _write_first(self, chunk: bytes) -> object:
        if self._head is None:
            self._begin()
        return self._write(chunk)

    def _begin(self) -> None:
        assert self.exchange is not None
        self._first_byte = time.monotonic() - self._began
        head = self._head = head_of(self._lines)
        if head.status not in self.exchange.request.accept:
            self._sink = self._refusal = BytesSink(self._settings.max_refusal_bytes, truncate=True)
            self._write = self._keep
            return
        if self.exchange.request.route.decode and head.encoding in UNDONE:
            self._sink = Decoded(self._sink, head.encoding)
        self._write = self._sink.write
        self._sink.begin(head)

    def _keep(self, chunk: bytes) -> None:
        assert self._head is not None
        assert self._refusal is not None
        self._refusal.write(chunk)
        if len(self._refusal.data) >= self._settings.max_refusal_bytes:
            raise refusal(self._url, self._head.status)

    # After

    def unload(self, code: int, text: str) -> tuple[Exchange, Outcome]:
        """The exchange and its outcome, once libcurl is done with it.

        Args:
            code: libcurl's; 0 where the answer is complete.
            text: libcurl's message for it.
        """
        exchange = self.exchange
        assert exchange is not None
        error: BaseException | None = None
        try:
            if code == 0 and self._error is None and self._head is None:
                self._begin()
            error = self._why(code, text) if code or self._error is not None else self._flaw()
            if error is None and self._refusal is None:
                self._sink.end()
        except Exception as raised:
            error = raised
        if self.is_paused:
            self._paused(exchange, False)
        self._go_on()
        outcome = Outcome(self._head, error, received=int(self.curl.getinfo(pycurl.SIZE_DOWNLOAD_T)))
        if self._refusal is not None and self._head is not None:
            # That the server refuses is the news, also where its reasons broke off.
            outcome.refusal = bytes(self._refusal.data)
            proxy = exchange.request.route.proxy
            if self._head.status == 407 and proxy is not None:
                outcome.error = refusing_proxy(self._url, proxy.shown, "407")
            else:
                outcome.error = refusal(self._url, self._head.status)
        if outcome.error is not None:
            _abandon(exchange.sink)
            error = outcome.error
            if isinstance(error, TransportError) and not error.url:
                outcome.error = TransportError(error.kind, self._url, error.reason, transient=error.transient)
        outcome.first_byte_seconds = self._first_byte or time.monotonic() - self._began
        self._forget()
        return exchange, outcome

    def _flaw(self) -> TransportError | None:
        """Finds the flaws of an answer that libcurl takes for complete."""
        if not (self._lines and self._lines[-1] == b"\r\n") and not ends_head(self._lines):
            return TransportError(Kind.LOST, self._url, "the connection was lost within the answer's headers")
        head = self._head
        if head is not None and head.size is None and "content-length" in head.headers:
            # Of unknown length though there is a header: one that libcurl cannot read.
            is_unread = self.curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T) < 0
            if is_unread and "transfer-encoding" not in head.headers:
                return TransportError(Kind.PROTOCOL, self._url, "the answer's Content-Length is no size")
        return None

    def _why(self, code: int, text: str) -> BaseException | None:
        if self._refused and (code or self._error):
            return refused(self._url, self._refused)
        if self._error is not None or code == 0:
            return self._error
        assert self.exchange is not None
        proxy = self.exchange.request.route.proxy
        connected = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0
        return failure_of(code, text, self._url, proxy=proxy.shown if proxy else "", connected=connected)

    @property
    def _url(self) -> str:
        return self.exchange.request.url if self.exchange is not None else ""


def _abandon(sink: Sink) -> None:
    try:
        sink.abandon()
    except Exception:
        return
