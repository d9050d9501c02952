"""One event loop: a thread that moves the bytes of many exchanges at a time."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import pycurl  # type: ignore[import-untyped]

from forebay.transport.exchange import Exchange
from forebay.transport.handles import Profile, profile_of
from forebay.transport.heads import retry_after
from forebay.transport.poller import IN, OUT, Bell, Poller
from forebay.transport.requests import Outcome
from forebay.transport.settings import TransportSettings
from forebay.transport.slot import Slot
from forebay.transport.traffic import Traffic
from forebay.transport.transport_errors import Kind, TransportError

_log = logging.getLogger(__name__)
_SWEEP_SECONDS = 0.5
# libcurl's constants for what it wants watched, and those for what has happened.
_WANTED = {pycurl.POLL_IN: IN, pycurl.POLL_OUT: OUT, pycurl.POLL_INOUT: IN | OUT}
_HAPPENED = {IN: pycurl.CSELECT_IN, OUT: pycurl.CSELECT_OUT, IN | OUT: pycurl.CSELECT_IN | pycurl.CSELECT_OUT}
_OVERLOAD = frozenset({429, 503})
_FAILED = "the transport failed; please report what the log says"


class Loop:
    """A thread with libcurl's multi interface, which takes its requests from a `Traffic`.

    Args:
        number: tells its thread from others.
        share: of the requests in flight, how many it will have at most; so many connections are kept.
        relieved: is called after an exchange has ended or paused while others wait, so that idle loops look
            again.
    """

    def __init__(
        self,
        number: int,
        settings: TransportSettings,
        traffic: Traffic,
        share: int,
        relieved: Callable[[Loop], None],
    ) -> None:
        self._settings = settings
        self._share = share
        self._traffic = traffic
        self._relieved = relieved
        self._bell = Bell()
        self._is_awake = True
        # Whether there may be something to take, and when there will be in any case.
        self._has_news = True
        self._take_at = math.inf
        self._is_closing = False
        self._active: dict[pycurl.Curl, Slot] = {}
        # Those of them whose sinks take nothing now. They are no work, and count for nothing.
        self._paused: set[Exchange] = set()
        self._idle: dict[Profile, list[Slot]] = {}
        self._idle_count = 0
        self._timer: float | None = None
        self._swept_at = 0.0
        # A list that one thread exchanges while another one appends to it would lose what was appended.
        self._asked: deque[tuple[Exchange, bool]] = deque()
        self._thread = threading.Thread(target=self._run, name=f"forebay-transport-{number}", daemon=True)
        self._open()

    @property
    def in_flight(self) -> int:
        """How many exchanges it has under way, without those that pause."""
        return len(self._active) - len(self._paused)

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
                    action(descriptor, _HAPPENED[happened])
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
        slot = self._slot(profile_of(exchange.request))
        try:
            slot.load(exchange, now)
            self._multi.add_handle(slot.curl)
        except BaseException:
            exchange.sink.abandon()
            slot.curl.close()
            raise
        self._active[slot.curl] = slot

    def _slot(self, profile: Profile) -> Slot:
        found = self._idle.get(profile)
        if found:
            self._idle_count -= 1
            return found.pop()
        slot = Slot(self._settings, self._on_pause)
        slot.prepare(profile)
        return slot

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
        self._multi.remove_handle(slot.curl)
        exchange, outcome = slot.unload(code, text)
        if slot.is_plain and self._idle_count < self._share:
            assert slot.profile is not None
            self._idle.setdefault(slot.profile, []).append(slot)
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
                slot.resume()

    def _give_up_all(self, kind: Kind, reason: str) -> None:
        for slot in list(self._active.values()):
            slot.fail(kind, reason)
            try:
                self._unload(slot, 42, "")
            except Exception:
                _log.exception("an exchange could not be given up properly")
        self._paused.clear()

    # What libcurl calls

    def _on_socket(self, event: int, descriptor: int, multi: object, data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            self._poller.forget(descriptor)
        else:
            self._poller.watch(descriptor, _WANTED.get(event, 0))

    def _on_pause(self, exchange: Exchange, yes: bool) -> None:
        (self._paused.add if yes else self._paused.discard)(exchange)
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
