"""One event loop: a thread that moves the bytes of many exchanges at a time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import pycurl

from forebay.transport.exchange import Exchange
from forebay.transport.heads import retry_after
from forebay.transport.poller import BROKEN, IN, OUT, Bell, Poller
from forebay.transport.requests import Outcome, Route
from forebay.transport.settings import TransportSettings
from forebay.transport.slot import Hold, Slot
from forebay.transport.throttle import Throttle
from forebay.transport.traffic import Traffic
from forebay.transport.transport_errors import Kind, TransportError

_log = logging.getLogger(__name__)
_SWEEP_SECONDS = 0.5
# How soon to look whether what others had to give way to has ended.
_GIVE_WAY_SECONDS = 0.02
# So often, a part of what gives way is taken nevertheless, so that no server hangs up.
_TRICKLE_SECONDS = 2.0
# libcurl's constants for what it wants watched, and those for what has happened.
_WANTED = {pycurl.POLL_IN: IN, pycurl.POLL_OUT: OUT, pycurl.POLL_INOUT: IN | OUT}
_HAPPENED = [
    (pycurl.CSELECT_IN if events & (IN | BROKEN) else 0) | (pycurl.CSELECT_OUT if events & (OUT | 8) else 0)
    for events in range(32)
]
_OVERLOAD = frozenset({429, 503})
_FAILED = "the transport failed; please report what the log says"


class Loop:
    """A thread with libcurl's multi interface, which takes its requests from a `Traffic`.

    Args:
        number: tells its thread from others.
        share: of the requests in flight, how many it will have at most; so many connections are kept.
        throttle: bounds the bytes that come; ``None`` for no bound.
        relieved: is called after an exchange has ended or paused while others wait, so that idle loops look
            again.

    Attributes:
        in_flight: how many exchanges it has under way, without those that pause: they are no work.
    """

    def __init__(
        self,
        number: int,
        settings: TransportSettings,
        traffic: Traffic,
        share: int,
        throttle: Throttle | None,
        relieved: Callable[[Loop], None],
    ) -> None:
        self._settings = settings
        self._share = share
        self._traffic = traffic
        self._throttle = throttle
        # Those whose bytes wait, in the order in which they came, and until when.
        self._held: deque[Slot] = deque()
        self._held_until = 0.0
        self._relieved = relieved
        self._bell = Bell()
        self._is_awake = True
        # Whether there may be something to take, and when there will be in any case.
        self._has_news = True
        self._take_at = math.inf
        self._is_closing = False
        self._active: dict[pycurl.Curl, Slot] = {}
        self.in_flight = 0
        self._idle: dict[Route, list[Slot]] = {}
        self._idle_count = 0
        self._timer: float | None = None
        self._swept_at = 0.0
        # A list that one thread exchanges while another one appends to it would lose what was appended.
        self._asked: deque[tuple[Exchange, bool]] = deque()
        self._thread = threading.Thread(target=self._run, name=f"forebay-transport-{number}", daemon=True)
        self._open()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this loop's."""
        return threading.current_thread() is self._thread

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Has the loop look for requests. May be called from any thread."""
        self._has_news = True
        if not self._is_awake:
            self._is_awake = True
            self._bell.ring()

    def obey(self, exchange: Exchange, *, resume: bool) -> None:
        """Resumes an exchange that pauses, or gives one up. May be called from any thread."""
        self._asked.append((exchange, resume))
        self._bell.ring()

    def close(self) -> None:
        """Ends the thread, and with it what is in flight. May be called from any thread."""
        self._is_closing = True
        self._bell.ring()
        if not self.is_current and self._thread.is_alive():
            self._thread.join()

    # The thread

    def _run(self) -> None:
        while not self._is_closing:
            try:
                while not self._is_closing:
                    self._turn()
            except Exception:
                # A mistake in this code must not leave callers waiting for ever.
                _log.exception("a transport's event loop failed; what was in flight is given up")
                self._give_up_all(Kind.INTERNAL, _FAILED)
                # What waits may be what it failed of.
                for exchange in self._traffic.drain():
                    error = TransportError(Kind.INTERNAL, exchange.request.url, _FAILED)
                    exchange.outcome = Outcome(error=error)
                    tell(exchange)
                self._reopen()
        self._give_up_all(Kind.CLOSED, "the transport was closed")
        self._shut()
        self._bell.close()

    def _reopen(self) -> None:
        """Begins anew with new handles, as soon as the system has what they need."""
        self._shut()
        while not self._is_closing:
            try:
                self._open()
            except Exception:
                time.sleep(_SWEEP_SECONDS)
            else:
                return

    def _open(self) -> None:
        self._poller = Poller()
        self._poller.watch(self._bell.descriptor, IN)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        # Connections are kept for as many requests as there may be again.
        self._multi.setopt(pycurl.M_MAXCONNECTS, self._share)
        self._timer = None

    def _shut(self) -> None:
        slots = [slot for slots in self._idle.values() for slot in slots]
        self._idle.clear()
        self._idle_count = 0
        self._multi.close()
        for slot in slots:
            slot.curl.close()
        self._poller.close()

    def _turn(self) -> None:
        now = time.monotonic()
        if self._has_news or now >= self._take_at:
            self._take(now)
        if self._timer is not None and self._timer <= now:
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        elif events := self._wait(now):
            action = self._multi.socket_action
            for descriptor, happened in events:
                if descriptor == self._bell.descriptor:
                    self._bell.clear()
                else:
                    action(descriptor, _HAPPENED[happened & 31])
        if self._held:
            self._let_through()
        if self._active:
            self._finish()
            now = time.monotonic()
            if now - self._swept_at >= _SWEEP_SECONDS:
                self._sweep(now)
        if self._asked:
            self._obey()

    def _wait(self, now: float) -> Sequence[tuple[int, int]]:
        until = min(self._take_at, now + (_SWEEP_SECONDS if self._active else 60.0))
        if self._timer is not None and self._timer < until:
            until = self._timer
        if self._held:
            until = min(until, self._held_until)
        # Callers ring from here on; what they added before is seen here.
        self._is_awake = False
        if self._has_news or self._is_closing or self._asked:
            until = now
        events = self._poller.wait(until - now if until > now else 0.0)
        self._is_awake = True
        return events

    def _take(self, now: float) -> None:
        self._has_news = False
        while isinstance(taken := self._traffic.take(now, self.in_flight), Exchange):
            try:
                self._start(taken, now)
            except Exception as error:
                # A request that cannot be sent says nothing about the host.
                self._end(taken, Outcome(error=error), now)
        self._take_at = taken

    def _start(self, exchange: Exchange, now: float) -> None:
        if exchange.cancelled:
            raise TransportError(Kind.CANCELLED, exchange.request.url, "cancelled")
        slot = self._slot(exchange.request.route)
        try:
            slot.load(exchange, now)
            self._multi.add_handle(slot.curl)
        except BaseException:
            exchange.sink.abandon()
            slot.curl.close()
            raise
        self._active[slot.curl] = slot
        self.in_flight += 1

    def _slot(self, route: Route) -> Slot:
        found = self._idle.get(route)
        if found:
            self._idle_count -= 1
            return found.pop()
        slot = Slot(self._settings, self._on_pause, self._admits, self._held.append)
        slot.prepare(route)
        return slot

    def _let_through(self) -> None:
        """Has those go on whose bytes wait, the most urgent first, until the throttle says stop."""
        now = time.monotonic()
        self._held_until = now + _GIVE_WAY_SECONDS
        waiting = [slot for slot in self._held if slot.is_held and slot.exchange is not None]
        if self._traffic.is_mixed:
            waiting.sort(key=lambda slot: slot.exchange.urgency if slot.exchange is not None else 0)
        self._held.clear()
        for number, slot in enumerate(waiting):
            if self._throttle is not None and (wait := self._throttle.wait(now)):
                self._held_until = now + wait
                # Those that are held anew meanwhile came later.
                self._held.extendleft(reversed(waiting[number:]))
                return
            assert slot.exchange is not None
            passing = now - slot.held_at >= _TRICKLE_SECONDS
            if passing or not self._traffic.gives_way(slot.exchange):
                self._continue(slot, partial(slot.let_through, passing=passing))
            else:
                self._held.append(slot)

    def _continue(self, slot: Slot, step: Callable[[], None]) -> None:
        """Has a slot take what waits; its sink may refuse that, which libcurl tells here."""
        try:
            step()
        except pycurl.error as error:
            self._unload(slot, int(error.args[0]), "")

    def _admits(self, exchange: Exchange, size: int, passing: bool) -> Hold:
        if self._traffic.is_mixed and not passing and self._traffic.gives_way(exchange):
            return Hold.GIVES_WAY
        throttle = self._throttle
        if throttle is not None:
            now = time.monotonic()
            if throttle.wait(now):
                return Hold.THROTTLE
            throttle.took(size, now)
        return Hold.NO

    def _finish(self) -> None:
        _, ended, failed = self._multi.info_read()
        if not ended and not failed:
            return
        for curl in ended:
            self._unload(self._active[curl], 0, "")
        for curl, code, text in failed:
            self._unload(self._active[curl], code, text)
        if self._traffic.is_waiting:
            self._relieved(self)

    def _unload(self, slot: Slot, code: int, text: str) -> None:
        del self._active[slot.curl]
        self.in_flight -= 1
        self._multi.remove_handle(slot.curl)
        exchange, outcome = slot.unload(code, text)
        if slot.is_plain and self._idle_count < self._share:
            assert slot.route is not None
            self._idle.setdefault(slot.route, []).append(slot)
            self._idle_count += 1
        else:
            slot.curl.close()
        self._end(exchange, outcome, time.monotonic())

    def _end(self, exchange: Exchange, outcome: Outcome, now: float) -> None:
        exchange.outcome = outcome
        head, error = outcome.head, outcome.error
        refused = head is not None and head.status in _OVERLOAD
        pause = None
        if refused and head is not None:
            pause = retry_after(head.headers, max_seconds=self._settings.max_pause_seconds)
        self._traffic.ended(
            exchange,
            now,
            received=outcome.received,
            refused=refused,
            answered=head is not None,
            unreachable=isinstance(error, TransportError) and (error.timed_out or error.kind is Kind.CONNECT),
            retry_after=pause,
        )
        self._has_news = True
        tell(exchange)

    # Time

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for slot in list(self._active.values()):
            if slot.is_late(now):
                self._unload(slot, 42, "")

    def _obey(self) -> None:
        asked = []
        while self._asked:
            asked.append(self._asked.popleft())
        for slot in list(self._active.values()):
            if (slot.exchange, False) in asked:
                slot.fail(Kind.CANCELLED, "cancelled")
                self._unload(slot, 42, "")
            elif (slot.exchange, True) in asked:
                self._continue(slot, slot.resume)

    def _give_up_all(self, kind: Kind, reason: str) -> None:
        for slot in list(self._active.values()):
            slot.fail(kind, reason)
            try:
                self._unload(slot, 42, "")
            except Exception:
                _log.exception("an exchange could not be given up properly")
        self.in_flight = 0

    # What libcurl calls

    def _on_socket(self, event: int, descriptor: int, multi: object, data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            self._poller.forget(descriptor)
        else:
            self._poller.watch(descriptor, _WANTED.get(event, 0))

    def _on_pause(self, exchange: Exchange, yes: bool) -> None:
        self.in_flight += -1 if yes else 1
        self._traffic.paused(exchange, yes)
        self._has_news = True
        # What this loop has its share of may be another one's to send.
        if yes and self._traffic.is_waiting:
            self._relieved(self)

    def _on_timer(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def tell(exchange: Exchange) -> None:
    """Tells whom it concerns that an exchange has ended; a mistake there ends nothing else."""
    try:
        exchange.done(exchange)
    except Exception:
        _log.exception("what was to be done after an exchange failed")
