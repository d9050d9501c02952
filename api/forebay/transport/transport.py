"""The HTTP engine: moves bytes of many requests at a time in a few threads."""

from __future__ import annotations

import atexit
import contextlib
import encodings.idna  # noqa: F401 - what the first look-up of a host's name would otherwise import
import math
import os
import threading
import time
import weakref
from collections.abc import Callable

from forebay import forks
from forebay.transport.bounds import Bounds
from forebay.transport.exchange import Exchange
from forebay.transport.loop import Loop, tell
from forebay.transport.requests import Outcome, Request, Response
from forebay.transport.settings import TransportSettings
from forebay.transport.sinks import BytesSink, Sink
from forebay.transport.traffic import Traffic
from forebay.transport.transport_errors import Kind, TransportError

# Descriptors for everything but connections and the files that they fill; fewer where few are allowed.
_SPARE_DESCRIPTORS = 256


class Transport:
    """Sends requests and hands their answers to sinks. Safe for threads, forks and signals.

    Its threads start with the first request; a forked child starts its own. The number of requests in
    flight does not hang on the number of threads: it is found out for each host.

        transport = Transport()
        response = transport.call(Request("https://host/small.json"))
        transport.submit(Request("https://host/large"), PathSink("large"), lambda exchange: ...)

    Attributes:
        bounds: of this process, and what it used of what many share; `grant` says how much it may.
    """

    def __init__(self, settings: TransportSettings | None = None) -> None:
        self.settings = settings or TransportSettings()
        self._running: _Running | None = None
        self._parts = 1
        self.bounds = Bounds(self.settings)
        self._is_closed = False
        forks.forget_in_children(self)
        _open_ones.add(self)

    def submit(self, request: Request, sink: Sink, done: Callable[[Exchange], None]) -> Exchange:
        """Has a request sent when its turn comes.

        Args:
            sink: takes the body of an answer with an accepted status.
            done: is called exactly once with the exchange, whose ``outcome`` says how it ended; on the
                thread of an event loop, so it must not wait. It may submit further requests.

        Raises:
            TransportError: the URL cannot be sent, or the transport is closed.
        """
        exchange = Exchange(request, sink, done)
        (self._running or self._run()).submit(exchange)
        return exchange

    def call(self, request: Request, *, max_bytes: int = 16 << 20) -> Response:
        """Sends a request and waits for its answer, of whatever status.

        Args:
            max_bytes: the longest body that is taken, in bytes. Of an answer whose status is not accepted,
                the beginning is taken.

        Raises:
            TransportError: no answer came, or not all of it.
        """
        running = self._run()
        if running.is_own_thread:
            raise TransportError(
                Kind.INTERNAL, request.url, "a thread that moves bytes must not wait for some"
            )
        sink, ended = BytesSink(max_bytes), threading.Event()
        exchange = self.submit(request, sink, lambda exchange: ended.set())
        try:
            ended.wait()
        except BaseException:
            self.cancel(exchange)
            raise
        outcome = exchange.outcome
        assert outcome is not None
        if outcome.error is None and outcome.head is not None:
            return Response(outcome.head, bytes(sink.data))
        if isinstance(outcome.error, TransportError) and outcome.error.kind is not Kind.REFUSED:
            raise outcome.error
        if outcome.head is None:
            raise TransportError(Kind.INTERNAL, request.url, "no answer came") from outcome.error
        return Response(outcome.head, outcome.refusal)

    def cancel(self, exchange: Exchange) -> None:
        """Gives an exchange up; its ``done`` is still called. Does nothing where it has ended.

        For one that has been sent it takes no lock that is not reentrant, so that finalizers may call it.
        """
        exchange.cancelled = True
        running = self._running
        if running is not None and exchange.outcome is None:
            running.cancel(exchange)

    def resume(self, exchange: Exchange) -> None:
        """Resumes an exchange whose sink was `FULL`."""
        running = self._running
        if running is not None:
            running.resume(exchange)

    def divide(self, parts: int) -> None:
        """Leaves all but one of so many parts of what may be in flight to other processes; 1 ends that."""
        self._parts = parts
        running = self._running
        if running is not None:
            running.traffic.divide(parts)

    def grant(self, what: str, rate: float | None, until: float = math.inf) -> None:
        """Sets what this process has of something that many share.

        Args:
            rate: so much a second; ``None`` for any number.
            until: from when on it has nothing; seconds of the monotonic clock.
        """
        self.bounds.grant(what, rate, time.monotonic(), until)
        running = self._running
        if running is not None:
            running.wake()

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        running = self._running
        return running.traffic.in_flight if running is not None else 0

    def window(self, origin: str) -> int | None:
        """How many requests a host gets at a time now; ``None`` if it was not asked anything."""
        running = self._running
        window = running.traffic.window_of(origin) if running is not None else None
        return int(window.size) if window is not None else None

    def close(self) -> None:
        """Ends its threads, and what is in flight or waits (`Kind.CLOSED`). May be called more than once."""
        self._is_closed = True
        with forks.setting_up():
            running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def forget(self) -> object:
        """Is called in a forked child: the parent's threads and connections are not the child's."""
        running, self._running = self._running, None
        self.bounds = Bounds(self.settings)
        return running

    def _run(self) -> _Running:
        running = self._running
        if running is not None:
            return running
        with forks.setting_up():
            if self._is_closed:
                raise TransportError(Kind.CLOSED, "", "the transport is closed")
            if self._running is None:
                try:
                    running = _Running(self.settings, self.bounds)
                    running.traffic.divide(self._parts)
                    self._running = running
                except (OSError, RuntimeError) as error:
                    reason = f"cannot start to move bytes: {error}; allow more open files or threads"
                    raise TransportError(Kind.INTERNAL, "", reason) from error
            return self._running


class _Running:
    """The threads of one process."""

    def __init__(self, settings: TransportSettings, bounds: Bounds) -> None:
        threads = max(1, settings.threads)
        max_requests = max(1, min(settings.max_requests, _room_for_requests()))
        self.traffic = Traffic(settings, max_requests=max_requests, loops=threads, bounds=bounds)
        share = -(-max_requests // threads)
        self._loops = [
            Loop(number, settings, self.traffic, share, bounds.bytes, self._relieved)
            for number in range(threads)
        ]
        self._is_closed = False
        for loop in self._loops:
            loop.start()

    @property
    def is_own_thread(self) -> bool:
        return any(loop.is_current for loop in self._loops)

    def submit(self, exchange: Exchange) -> None:
        self.traffic.add(exchange, time.monotonic())
        min_load, idlest = math.inf, self._loops[0]
        for loop in self._loops:
            if loop.in_flight < min_load:
                min_load, idlest = loop.in_flight, loop
        idlest.wake()
        if self._is_closed:
            self._end_waiting()

    def cancel(self, exchange: Exchange) -> None:
        # What has been sent does not wait any more. The garbage collector may have come here, and then this
        # thread may hold the lock of the traffic.
        if not exchange.began and self.traffic.withdraw(exchange):
            _end(exchange, Kind.CANCELLED, "cancelled")
            return
        for loop in self._loops:
            loop.obey(exchange, resume=False)

    def resume(self, exchange: Exchange) -> None:
        for loop in self._loops:
            loop.obey(exchange, resume=True)

    def close(self) -> None:
        self._is_closed = True
        self._end_waiting()
        for loop in self._loops:
            loop.close()
        self._end_waiting()

    def wake(self) -> None:
        for loop in self._loops:
            loop.wake()

    def _relieved(self, by: Loop) -> None:
        """Wakes a loop that has nothing to do while requests wait."""
        for loop in self._loops:
            if loop is not by and not loop.in_flight:
                loop.wake()
                return

    def _end_waiting(self) -> None:
        for exchange in self.traffic.drain():
            _end(exchange, Kind.CLOSED, "the transport was closed")


def _end(exchange: Exchange, kind: Kind, reason: str) -> None:
    with contextlib.suppress(Exception):
        exchange.sink.abandon()
    exchange.outcome = Outcome(error=TransportError(kind, exchange.request.url, reason))
    tell(exchange)


def _room_for_requests() -> int:
    """How many requests the limit of open files allows, once it is raised as far as this process may.

    Each takes a descriptor for its connection and one for its file.
    """
    try:
        import resource
    except ImportError:
        return 1 << 30
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    try:
        used = len(os.listdir("/dev/fd"))
    except OSError:
        used = 0
    return max(1, (soft - used - min(_SPARE_DESCRIPTORS, soft // 4)) // 2)


_open_ones: weakref.WeakSet[Transport] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    # Else threads would run on while the interpreter is taken apart.
    for transport in list(_open_ones):
        transport.close()
