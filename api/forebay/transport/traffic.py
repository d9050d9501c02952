"""Which request is sent next: every host within its window, all of them within the transport's bounds.

Knows no clock and no socket; the event loops tell it the time and take from it what they are to send.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque

from forebay.transport.exchange import Exchange
from forebay.transport.host_window import Window
from forebay.transport.settings import TransportSettings

# What a request in flight takes besides what its sink holds: buffers of TLS and of libcurl.
_OVERHEAD_BYTES = 32 << 10
_MAX_IDLE_HOSTS = 1000


class _Host:
    __slots__ = ("in_flight", "paused", "waiting", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.waiting: deque[Exchange] = deque()
        self.in_flight = 0
        self.paused = 0


class Traffic:
    """The requests that wait and those in flight, of all loops of one process. Safe for threads.

    Args:
        max_requests: requests in flight at most.
        loops: how many event loops share them.
    """

    def __init__(self, settings: TransportSettings, *, max_requests: int, loops: int) -> None:
        self._settings = settings
        self._max_requests = max_requests
        self._loops = loops
        self._lock = threading.Lock()
        # The one that was asked last comes last.
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        # Hosts with requests that wait; the first one's turn is next.
        self._turns: OrderedDict[str, _Host] = OrderedDict()
        self._in_flight = 0
        self._held = 0

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
                window = Window(now, first=settings.first_requests, max_size=self._max_requests)
                host = self._hosts[origin] = _Host(window)
                self._drop_idle()
            else:
                self._hosts.move_to_end(origin)
            host.waiting.append(exchange)
            self._turns[origin] = host

    def take(self, now: float, loop_in_flight: int) -> Exchange | float:
        """The request to send now.

        Args:
            loop_in_flight: how many requests the asking loop has in flight, without those that pause.

        Returns:
            the request; where there is none, or it would be too much, when it is worth to ask again, which
            is infinite where that is a matter of answers, not of time.
        """
        if not self._turns:
            return math.inf
        take_at = math.inf
        with self._lock:
            if self._in_flight >= self._max_requests:
                return take_at
            for _ in range(len(self._turns)):
                origin, host = next(iter(self._turns.items()))
                exchange = host.waiting[0]
                holds = exchange.sink.holds + _OVERHEAD_BYTES
                # One alone is always let through, however much it holds.
                if self._in_flight and self._held + holds > self._settings.memory_bytes:
                    return take_at
                if len(self._turns) > 1:
                    self._turns.move_to_end(origin)
                if not host.window.allows(now, host.in_flight):
                    take_at = min(take_at, host.window.wakeup(now, host.in_flight))
                    continue
                if self._has_its_share(host, loop_in_flight):
                    continue
                # Before it is taken out: a request that is in no list would never end.
                host.window.started(now)
                host.waiting.popleft()
                if not host.waiting:
                    del self._turns[origin]
                host.in_flight += 1
                self._in_flight += 1
                self._held += holds
                exchange.began, exchange.holds = now, holds
                return exchange
        return take_at

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
            self._in_flight -= 1
            self._held -= exchange.holds
            if refused:
                host.window.refused(now, exchange.began, retry_after)
            elif unreachable:
                host.window.timed_out(now, exchange.began)
            elif answered:
                host.window.served(now, received)

    def paused(self, exchange: Exchange, yes: bool) -> None:
        """Notes that a request pauses, or resumes. While it pauses, it does not count as in flight."""
        change = -1 if yes else 1
        with self._lock:
            host = self._hosts[exchange.origin]
            host.in_flight += change
            host.paused -= change
            self._in_flight += change

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
        if self._loops == 1:
            return False
        allowed = min(self._max_requests, max(int(host.window.size), self._in_flight + 1))
        return loop_in_flight >= -(-allowed // self._loops)

    def _drop_idle(self) -> None:
        """Forgets the hosts that have not been asked anything for the longest time."""
        if len(self._hosts) <= _MAX_IDLE_HOSTS:
            return
        for origin, host in list(self._hosts.items())[: _MAX_IDLE_HOSTS // 2]:
            if not host.in_flight and not host.waiting and not host.paused:
                del self._hosts[origin]
