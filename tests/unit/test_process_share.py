"""A process's parts of what a volume's processes share: when they are asked for, and given back."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.index import SessionLostError
from forebay.index.shares import Share
from forebay.transport import Use
from forebay.volume import process_share
from forebay.volume.process_share import ProcessShare
from tests.servers.embedded import eventually

HOST = "http://host"


class Bounded:
    """A transport that wants all that it can get."""

    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.hosts = [HOST]
        self.granted: list[tuple[str, float | None]] = []
        self.is_short = True

    @property
    def bounds(self) -> Bounded:
        return self

    def share(self, now: float) -> None:
        self.wanted.set()

    def shared(self) -> list[str]:
        return list(self.hosts)

    def limit(self, what: str) -> float | None:
        return 100.0

    def use(self, what: str) -> Use:
        # Nearly all of what was granted, or nothing.
        return Use(40 if self.is_short else 0, was_short=self.is_short)

    def grant(self, what: str, rate: float | None, until: float = math.inf) -> None:
        self.granted.append((what, rate))


class Shares:
    """An index that grants half of what is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []
        self.is_lost = False

    def renew(self, session: str, what: str, limit: float, demand: float) -> Share:
        self.asked.append((what, demand))
        if self.is_lost:
            self.is_lost = False
            raise SessionLostError
        return Share(limit / 2, limit / 2)


@pytest.fixture
def shares() -> Shares:
    return Shares()


@pytest.fixture
def bounded(shares: Shares) -> Iterator[Bounded]:
    bounded = Bounded()
    session: Any = SimpleNamespace(id="session", deadline=math.inf)
    index: Any = SimpleNamespace(shares=shares)
    share = ProcessShare(index, session, lambda: bounded)
    share.start()
    yield bounded
    share.stop()


def test_what_is_wanted_is_asked_for_and_granted(bounded: Bounded, shares: Shares) -> None:
    eventually(lambda: (HOST, 50.0) in bounded.granted)

    assert shares.asked[0] == (HOST, -1.0)


def test_the_part_of_a_host_that_the_transport_has_forgotten_is_given_back(
    bounded: Bounded, shares: Shares
) -> None:
    eventually(lambda: shares.asked)

    bounded.hosts = []

    eventually(lambda: (HOST, 0) in shares.asked)


def test_without_its_session_a_process_has_nothing_and_asks_anew(bounded: Bounded, shares: Shares) -> None:
    eventually(lambda: (HOST, 50.0) in bounded.granted)
    shares.asked.clear()
    before = len(bounded.granted)

    shares.is_lost = True

    eventually(lambda: bounded.granted[before:][-2:] == [(HOST, 0.0), (HOST, 50.0)])
    # What it had was taken from it, which says nothing of what it needs.
    assert shares.asked[-1] == (HOST, -1.0)


def test_what_is_wanted_is_not_kept_waiting_for_the_next_round(
    bounded: Bounded, shares: Shares, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a process that has asked for nothing yet, and whose next round is far away
    monkeypatch.setattr(process_share, "_ROUND_SECONDS", 3600.0)
    bounded.hosts = []
    bounded.is_short = False
    eventually(lambda: (HOST, 0) in shares.asked)
    bounded.hosts = [HOST]
    bounded.wanted.set()
    eventually(lambda: bounded.granted[-1] == (HOST, 0.0))

    bounded.is_short = True
    bounded.wanted.set()

    eventually(lambda: bounded.granted[-1] == (HOST, 50.0))
