"""Which request is sent next: every host within its window, all of them within the transport's bounds.

Knows no clock and no socket; the event loops tell it the time and take from it what they are to send.
"""

from __future__ import annotations

import math
import threading

from forebay.transport.bounds import Bounds
from forebay.transport.exchange import Exchange
from forebay.transport.host_window import Window
from forebay.transport.in_flight import InFlight
from forebay.transport.settings import TransportSettings
from forebay.transport.throttle import Throttle
from forebay.transport.urgency import Waiting

# What a request in flight takes besides what its sink holds: buffers of TLS and of libcurl.
_OVERHEAD_BYTES = 32 << 10
_MAX_IDLE_HOSTS = 1000


class _Host:
    __slots__ = ("bound", "in_flight", "paused", "urgencies", "waiting", "window")

    def __init__(self, window: Window, bound: Throttle | None) -> None:
        self.window = window
        self.bound = bound
        self.waiting = Waiting()
        self.in_flight = 0
        self.paused = 0
        # How many of each urgency are under way, without those that pause.
        self.urgencies: dict[int, int] = {}


class Traffic:
    """The requests that wait and those in flight, of all loops of one process. Safe for threads.

    Args:
        max_requests: requests in flight at most.
        loops: how many event loops share them.
        bounds: nothing is sent while they let nothing pass.
    """

    def __init__(
        self, settings: TransportSettings, *, max_requests: int, loops: int, bounds: Bounds | None = None
    ) -> None:
        self._settings = settings
        self._bounds = bounds or Bounds(settings)
        self._bound = InFlight()
        self._window_size = self._max_requests = max_requests
        self._memory_bytes = settings.memory_bytes
        self._loops = loops
        self._lock = threading.Lock()
        # The one that was asked last comes last.
        self._hosts: dict[str, _Host] = {}
        # Hosts with requests that wait; the first one's turn is next.
        self._turns: dict[str, _Host] = {}
        self._in_flight = 0
        self._held = 0
        # How many of each urgency are under way, also those that pause.
        self._urgencies: dict[int, int] = {}

    def divide(self, parts: int) -> None:
        """Leaves all but one of so many parts of its bounds to other processes."""
        with self._lock:
            self._max_requests = max(1, self._window_size // parts)
            self._memory_bytes = self._settings.memory_bytes // parts
        self._bounds.divide(parts)

    @property
    def in_flight(self) -> int:
        """How many requests are in flight."""
        return self._in_flight

    def window_of(self, origin: str) -> Window | None:
        """The window of a host that has been asked something."""
        host = self._hosts.get(origin)
        return host.window if host else None

    def add(self, exchange: Exchange, now: float) -> None:
        """Has a request wait for its turn."""
        origin = exchange.origin
        with self._lock:
            host = self._hosts.get(origin)
            if host is None:
                settings = self._settings
                window = Window(now, first=settings.first_requests, max_size=self._window_size)
                host = self._hosts[origin] = _Host(window, self._bounds.requests(origin))
                self._drop_idle()
            else:
                self._hosts[origin] = self._hosts.pop(origin)
            if not host.waiting:
                self._turns[origin] = host
            host.waiting.add(exchange)

    def take(self, now: float, loop_in_flight: int) -> Exchange | float:
        """The request to send now.

        Args:
            loop_in_flight: how many requests the asking loop has in flight, without those that pause.

        Returns:
            the request; where there is none, or it would be too much, when it is worth to ask again, which
            is infinite where that is a matter of answers, not of time.
        """
        take_at = math.inf
        if not self._turns or self._in_flight >= self._max_requests:
            return take_at
        if (throttle := self._bounds.bytes) is not None and (wait := self._pause(throttle, now)):
            # What is asked for now would only wait, and its server with it.
            return now + wait
        with self._lock:
            if self._in_flight >= self._max_requests:
                return take_at
            for origin in self._order():
                host = self._turns[origin]
                exchange = host.waiting.first
                holds = exchange.sink.holds + _OVERHEAD_BYTES
                # One alone is always let through, however much it holds.
                if self._in_flight and self._held + holds > self._memory_bytes:
                    return take_at
                if len(self._turns) > 1:
                    self._turns[origin] = self._turns.pop(origin)
                if not host.window.allows(now, host.in_flight):
                    take_at = min(take_at, host.window.wakeup(now, host.in_flight))
                    continue
                if host.bound is not None and (wait := host.bound.wait(now)):
                    take_at = min(take_at, now + wait)
                    continue
                if self._loops > 1 and self._has_its_share(host, loop_in_flight):
                    continue
                # Before it is taken out: a request that is in no list would never end.
                host.window.started(now)
                if host.bound is not None:
                    host.bound.took(1, now)
                host.waiting.remove(exchange)
                if not host.waiting:
                    del self._turns[origin]
                host.in_flight += 1
                _count(host.urgencies, exchange.urgency, 1)
                _count(self._urgencies, exchange.urgency, 1)
                self._in_flight += 1
                self._held += holds
                exchange.began, exchange.holds = now, holds
                return exchange
        return take_at

    def _pause(self, throttle: Throttle, now: float) -> float:
        with self._lock:
            if wait := throttle.wait(now):
                self._bound.stopped(now, self._in_flight, throttle.rate)
                return wait
            return self._bound.wait(now, self._in_flight) if throttle.rate < math.inf else 0.0

    def ended(
        self,
        exchange: Exchange,
        now: float,
        *,
        received: int,
        refused: bool,
        answered: bool = True,
        unreachable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        """A request that was taken has ended.

        Args:
            received: bytes of its body.
            refused: whether the host said that there are too many.
            answered: whether an answer came at all.
            unreachable: whether the host could not be connected to, or did not answer in time.
            retry_after: for how many seconds the host asks to be left alone.
        """
        with self._lock:
            host = self._hosts[exchange.origin]
            host.in_flight -= 1
            _count(host.urgencies, exchange.urgency, -1)
            _count(self._urgencies, exchange.urgency, -1)
            self._in_flight -= 1
            self._held -= exchange.holds
            if refused:
                host.window.refused(now, exchange.began, retry_after)
            elif unreachable:
                host.window.timed_out(now, exchange.began)
            elif answered:
                host.window.served(now, received)
                self._bound.answered(received)

    def paused(self, exchange: Exchange, yes: bool) -> None:
        """Notes that a request pauses, or resumes. While it pauses, it does not count as in flight."""
        change = -1 if yes else 1
        with self._lock:
            host = self._hosts[exchange.origin]
            host.in_flight += change
            _count(host.urgencies, exchange.urgency, change)
            host.paused -= change
            self._in_flight += change

    @property
    def is_mixed(self) -> bool:
        """Whether requests of more than one urgency are under way."""
        return len(self._urgencies) > 1

    def gives_way(self, exchange: Exchange) -> bool:
        """Whether something more urgent comes from the same host."""
        host = self._hosts.get(exchange.origin)
        # Without the lock: it is asked again soon, and a copy is made in one step.
        return host is not None and any(urgency < exchange.urgency for urgency in list(host.urgencies))

    @property
    def is_waiting(self) -> bool:
        """Whether requests wait."""
        return bool(self._turns)

    def withdraw(self, exchange: Exchange) -> bool:
        """Takes back a request that waits; false where it does not wait any more."""
        with self._lock:
            host = self._hosts.get(exchange.origin)
            if host is None or exchange not in host.waiting:
                return False
            host.waiting.remove(exchange)
            if not host.waiting:
                del self._turns[exchange.origin]
            return True

    def drain(self) -> list[Exchange]:
        """Takes back all requests that wait."""
        with self._lock:
            found = [exchange for host in self._turns.values() for exchange in host.waiting]
            for host in self._turns.values():
                host.waiting.clear()
            self._turns.clear()
        return found

    def _has_its_share(self, host: _Host, loop_in_flight: int) -> bool:
        """Whether the asking loop leaves the rest to the others, which then run beside it."""
        allowed = min(self._max_requests, max(int(host.window.size), self._in_flight + 1))
        return loop_in_flight >= -(-allowed // self._loops)

    def _order(self) -> list[str]:
        """Whose turn it is: first where something more urgent waits."""
        order = list(self._turns)
        if len(order) > 1 and len({host.waiting.urgency for host in self._turns.values()}) > 1:
            order.sort(key=lambda origin: self._turns[origin].waiting.urgency)
        return order

    def _drop_idle(self) -> None:
        """Forgets the hosts that have not been asked anything for the longest time."""
        if len(self._hosts) <= _MAX_IDLE_HOSTS:
            return
        for origin, host in list(self._hosts.items())[: _MAX_IDLE_HOSTS // 2]:
            if not (host.in_flight or host.waiting or host.paused):
                del self._hosts[origin]
                self._bounds.forget(origin)


def _count(counts: dict[int, int], urgency: int, change: int) -> None:
    if left := counts.get(urgency, 0) + change:
        counts[urgency] = left
    else:
        counts.pop(urgency, None)
