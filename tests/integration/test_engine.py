"""Opening and closing what a process needs of a cache: in forked children, and while Redis is away."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from typing import Any

import pytest

from forebay.errors import IndexUnavailableError
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer

FORK = multiprocessing.get_context("fork")


def test_threads_of_a_forked_child_open_one_session(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a child of a process that has a session, with two threads that find that they are the parent's
    cache = make_cache()
    engine = cache.engine
    engine.open_session()
    forget, both = engine._forget_parent, threading.Barrier(2)
    here, there = FORK.Pipe()

    def forget_together() -> None:
        # Both are here at the same time, if that is possible.
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(1)
        forget()

    def child() -> None:
        monkeypatch.setattr(engine, "_forget_parent", forget_together)
        found: list[object] = []

        def use() -> None:
            found.append(engine.open_session())

        threads = [threading.Thread(target=use) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        beats = sum(thread.name == "forebay-heartbeat" for thread in threading.enumerate())
        there.send((len(set(map(id, found))), len(found), beats))
        cache.close()

    # when both use the cache
    process = FORK.Process(target=child)
    process.start()
    assert here.poll(60)
    told = here.recv()
    process.join(30)

    # then they have one session, and one heartbeat
    assert told == (1, 2, 1)


@pytest.mark.parametrize("fails", ["entries", "counters"])
def test_what_cannot_be_told_while_closing_keeps_no_session(
    make_cache: MakeCache, http_server: HTTPServer, monkeypatch: Any, fails: str
) -> None:
    # given a cache in use, and news that the index does not take
    cache = make_cache(allowed_sources=[http_server.endpoint + "/"])
    uri = http_server.put("/a.bin", b"pixels")
    cache.local_path(uri)
    cache.local_path(uri)
    session, index = cache.engine.open_session(), cache.engine.open_index()
    index.claims.acquire(session.id, [(entry_of(uri + "2"), f"{session.id}.999")])

    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such thing")

    if fails == "entries":
        monkeypatch.setattr(index.entries, "touch", refuse)
    else:
        monkeypatch.setattr(cache.engine.counters, "flush", refuse)

    # when it is closed
    cache.close()

    # then the session has ended, and nothing of it is left
    other = make_cache(allowed_sources=[http_server.endpoint + "/"]).engine.open_index()
    assert session.is_ended
    assert session.id not in [name for name, _ in other.sessions.all()]
    assert other.claims.all() == {}


def test_closing_waits_for_redis_once(make_cache: MakeCache, monkeypatch: Any) -> None:
    # given a process whose Redis does not answer any more
    cache = make_cache()
    session, asked = cache.engine.open_session(), []
    opened = cache.engine._opened
    assert opened is not None

    def away(*arguments: object) -> None:
        asked.append(arguments)
        raise IndexUnavailableError("Redis cannot be reached")

    monkeypatch.setattr(opened.recovery, "reap", away)
    monkeypatch.setattr(opened, "flush", away)

    # when it closes the cache
    cache.close()

    # then one call has waited for it, and the session has ended all the same
    assert len(asked) == 1
    assert session.is_ended
