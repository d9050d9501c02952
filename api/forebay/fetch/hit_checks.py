"""Copies that were handed out at once are compared with their sources beside the caller, if they are old.

A hit costs no round trip, so that it does not know the age of its file. It only leaves word here, and a
thread asks the index, and then the sources of those copies whose last check is longer ago than their maximum
age. The next caller gets what the thread has found.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from queue import Empty, SimpleQueue
from typing import Protocol

from forebay.config import MediaCacheConfig
from forebay.config.freshness import of_settings
from forebay.errors import ForebayError
from forebay.fetch.fetcher import Fetcher
from forebay.fetch.outcome import SampleOutcome
from forebay.index import Index
from forebay.uri import entry_of, parse_object

log = logging.getLogger(__name__)

_BATCH = 500
# Hits of so many seconds are looked at together; a thread without any ends after so many more.
_GATHER_SECONDS, _IDLE_SECONDS = 0.05, 1.0
# Nothing is looked at twice within this time, or within its maximum age where that is shorter.
_LOOK_AGAIN_SECONDS = 60.0
_MAX_KNOWN = 100_000


class Opener(Protocol):
    """What an engine has."""

    config: MediaCacheConfig

    def open_index(self) -> Index:
        """The index."""

    def open_fetcher(self) -> Fetcher:
        """The fetcher."""


class HitChecks:
    """The checks of one process; `hit` may be called by any thread, and after a fork.

    Args:
        opener: has the settings, and opens the index and the fetcher, in the thread.
    """

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._inbox: SimpleQueue[str] = SimpleQueue()
        # Until when nothing need be asked of an entry's copy, on the monotonic clock.
        self._rests: dict[str, float] = {}
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def hit(self, uri: str) -> None:
        """Has the copy of a URI looked at, unless that was done lately. Waits for nothing."""
        now = time.monotonic()
        if self._rests.get(uri, 0.0) > now:
            return
        if self._pid != os.getpid():
            self._begin()
        if len(self._rests) >= _MAX_KNOWN:
            self._rests.clear()
        self._rests[uri] = now + _LOOK_AGAIN_SECONDS
        self._inbox.put(uri)
        if self._thread is None:
            self._start()

    def close(self) -> None:
        """Drops what has not been looked at; a later hit begins again."""
        self._begin()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                arguments = (self._inbox, self._starting)
                self._thread = threading.Thread(
                    target=self._work, args=arguments, name="forebay-hit-checks", daemon=True
                )
                try:
                    self._thread.start()
                except RuntimeError:
                    # At the end of the interpreter there are no new threads.
                    self._thread = None

    def _work(self, inbox: SimpleQueue[str], starting: threading.Lock) -> None:
        while inbox is self._inbox:
            uris = _gathered(inbox)
            if uris:
                try:
                    self._check(uris)
                except Exception as error:
                    # The copies were handed out; that their ages are not known concerns the log only.
                    log.warning("cached copies could not be compared with their sources: %s", error)
                continue
            with starting:
                if inbox.empty() and inbox is self._inbox:
                    self._thread = None
                    return

    def _check(self, uris: list[str]) -> None:
        fresh = of_settings(self._opener.config)
        old: list[str] = []
        values = self._opener.open_index().entries.values([entry_of(uri) for uri in uris])
        for uri, value in zip(uris, values, strict=True):
            age = fresh.age(parse_object(uri))
            since = fresh.since(uri)
            current = None if value is None else value.known_current
            if current is not None and current < since:
                old.append(uri)
            if age is not None:
                left = age if current is None or current < since else current - since
                self._rests[uri] = time.monotonic() + min(left, _LOOK_AGAIN_SECONDS)
        if old:
            self._opener.open_fetcher().fetch(list(enumerate(old)), _tell, fresh=fresh)


def _gathered(inbox: SimpleQueue[str]) -> list[str]:
    try:
        uris = [inbox.get(timeout=_IDLE_SECONDS)]
    except Empty:
        return []
    until = time.monotonic() + _GATHER_SECONDS
    while len(uris) < _BATCH and (left := until - time.monotonic()) > 0:
        try:
            uris.append(inbox.get(timeout=left))
        except Empty:
            break
    return list(dict.fromkeys(uris))


def _tell(outcomes: list[SampleOutcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome.error, ForebayError):
            log.warning("%s; its old copy was handed out", outcome.error)
