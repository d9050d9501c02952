"""Processes that are paused at the worst moments, for longer than any claim lives.

A pause is a signal that a process sends to itself right before, or right after, one call of the system.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.uri import entry_of
from tests.caches import MakeCache, maintain
from tests.limits import bytes_below
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/d{n}/{n}.bin", bytes([n]) * 1000) for n in range(12)]


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> Any:
    """Makes caches that may fetch from the web server."""

    def make(**settings: Any) -> MediaCache:
        defaults = {
            "cache_size_bytes": 12_000,
            "grace_seconds": 600,
            "allowed_sources": [http_server.endpoint + "/"],
        }
        return make_cache(**(defaults | settings))

    return make


# A call of the system that an evictor makes for each file, and whether the pause comes before or after it.
MOMENTS = [(call, when) for call in ("stat", "chmod", "rename", "unlink") for when in ("before", "after")]
moments = pytest.mark.parametrize(("call", "when"), MOMENTS)


def evict(cache: MediaCache, uris: list[str]) -> None:
    cache.engine.open_evictor().evict(12_000)


def clear(cache: MediaCache, uris: list[str]) -> None:
    cache.clear(uris)


# What is cleared is not spared for a hit, so that it bears no sign.
operations = pytest.mark.parametrize(
    ("operation", "call", "when"),
    [(evict, *moment) for moment in MOMENTS]
    + [(clear, *moment) for moment in MOMENTS if "chmod" not in moment],
)


@pytest.fixture
def full(web: Any, uris: list[str]) -> MediaCache:
    """A cache that is full, of objects that nobody has used for long."""
    cache: MediaCache = web()
    for uri in uris:
        os.utime(cache.local_path(uri), (1e9, 1e9))
    index = cache.engine.open_index()
    cache.engine.files.take_touched()
    index.connection.command("zadd", index.keys.atime, {entry_of(uri): 1e9 for uri in uris})
    return cache


def paused(operation: Callable[[], object], call: str, when: str) -> BaseProcess:
    """A process that does something, and pauses at its first such call on a file that is, or was, cached."""

    def run() -> None:
        real, done = getattr(os, call), []

        def pausing(path: Any, *arguments: Any, **keywords: Any) -> Any:
            is_it = not done and (str(path).endswith(".bin") or ".leaving/" in str(path))
            done.extend([True] if is_it else [])
            if is_it and when == "before":
                signal.raise_signal(signal.SIGSTOP)
            result = real(path, *arguments, **keywords)
            if is_it and when == "after":
                signal.raise_signal(signal.SIGSTOP)
            return result

        setattr(os, call, pausing)
        operation()

    process = FORK.Process(target=run)
    process.start()
    return process


def has_stopped(process: BaseProcess) -> bool:
    """Whether a process is paused, or has ended."""
    try:
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "TZ"


def go_on(process: BaseProcess) -> None:
    os.kill(process.pid or 0, signal.SIGCONT)
    process.join(30)
    assert process.exitcode == 0


def intact(cache: MediaCache, uris: list[str]) -> list[int]:
    """The numbers of those that lie on the disk, complete."""
    found = []
    for number, uri in enumerate(uris):
        path = cache.engine.files.locate(entry_of(uri))
        if path is not None:
            assert Path(path).read_bytes() == bytes([number]) * 1000
            found.append(number)
    return found


def agree(cache: MediaCache, uris: list[str]) -> None:
    """Index and disk agree, and nothing is left over."""
    maintain(cache)
    engine = cache.engine
    index = engine.open_index()
    known = {entry for page in index.entries.scan() for entry, _ in page}
    assert known == {entry_of(uris[n]) for n in intact(cache, uris)}
    assert index.entries.totals().published == bytes_below(Path(engine.files.layout().media_dir))
    assert index.claims.all() == {}
    private = Path(engine.files.layout().private_dir)
    assert [path for path in private.rglob("*") if path.is_file() and "bin" in path.name] == []
    leaving = private / "tmp.leaving"
    assert not leaving.exists() or list(leaving.iterdir()) == []


class TestPausedForLongerThanItsClaims:
    """Its session has expired, and was cleaned up after, before it goes on."""

    @operations
    def test_what_was_leased_meanwhile_stays(
        self, web: Any, full: MediaCache, uris: list[str], operation: Any, call: str, when: str
    ) -> None:
        process = paused(lambda: operation(web(claim_ttl_seconds=1), uris), call, when)
        eventually(lambda: has_stopped(process))

        def cleaned_up() -> bool:
            full.engine.open_maintenance().run(force=True)
            return not full.engine.open_index().claims.all()

        eventually(cleaned_up, 20)
        there = intact(full, uris)
        with full.lease(uris, ttl=60):
            go_on(process)

            assert intact(full, uris) == there
            assert len(there) >= 11
        agree(full, uris)

    @moments
    def test_what_was_downloaded_again_meanwhile_stays(
        self, web: Any, full: MediaCache, uris: list[str], call: str, when: str
    ) -> None:
        process = paused(lambda: evict(web(claim_ttl_seconds=1), uris), call, when)
        eventually(lambda: has_stopped(process))

        def updated() -> bool:
            full.engine.open_maintenance().run(force=True)
            return not full.engine.open_index().claims.all()

        eventually(updated, 20)
        full.download_media(uris)
        paths = [full.local_path(uri) for uri in uris]
        go_on(process)

        assert all(Path(path).exists() for path in paths)
        agree(full, uris)


class TestPausedForAWhile:
    """Its session still lives: a lease dismisses it, and a hit that comes in between is seen."""

    @operations
    def test_a_lease_does_not_wait_for_it_for_ever(
        self, web: Any, full: MediaCache, uris: list[str], operation: Any, call: str, when: str
    ) -> None:
        process = paused(lambda: operation(web(claim_ttl_seconds=600), uris), call, when)
        eventually(lambda: has_stopped(process))

        with full.lease(uris, ttl=60):
            there = intact(full, uris)
            go_on(process)

            assert intact(full, uris) == there
            assert len(there) >= 11
        agree(full, uris)

    @moments
    def test_a_path_that_was_handed_out_meanwhile_can_be_opened(
        self, web: Any, full: MediaCache, uris: list[str], call: str, when: str
    ) -> None:
        process = paused(lambda: evict(web(claim_ttl_seconds=600), uris), call, when)
        eventually(lambda: has_stopped(process))

        # Those that count as hits: the others would wait for the evictor.
        paths = [path for uri in uris if (path := full.engine.files.touch(entry_of(uri))) is not None]
        go_on(process)

        assert all(Path(path).exists() for path in paths)
        assert len(paths) >= 11
        agree(full, uris)


@moments
def test_an_evictor_that_was_killed_loses_nothing_else(
    web: Any, full: MediaCache, uris: list[str], call: str, when: str
) -> None:
    process = paused(lambda: evict(web(), uris), call, when)
    eventually(lambda: has_stopped(process))
    process.kill()
    process.join()

    agree(full, uris)

    assert len(intact(full, uris)) >= 11
    assert all(path.stat().st_mode & 0o1000 == 0 for path in Path(full.config.cache_dir).rglob("*.bin"))


def test_an_evictor_works_where_it_can_make_no_directory(
    full: MediaCache, uris: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a disk without a free inode
    make = os.mkdir

    def refusing(path: Any, *arguments: Any, **keywords: Any) -> None:
        if "leaving" in str(path):
            raise OSError(28, "No space left on device", path)
        make(path, *arguments, **keywords)

    monkeypatch.setattr(os, "mkdir", refusing)

    assert full.engine.open_evictor().evict(12_000).freed == 12_000
    agree(full, uris)
