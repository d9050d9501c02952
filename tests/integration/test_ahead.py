"""Fetching ahead of a loop: nothing is waited for that is not needed, and nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from forebay.cache import MediaCache
from forebay.errors import ConfigError, ObjectNotFoundError
from forebay.lookahead.window import LookAhead
from forebay.volume.beneath import Beneath
from tests.caches import MakeCache
from tests.limits import Watcher
from tests.servers.embedded import eventually
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault, Proxy

FORK = multiprocessing.get_context("fork")
# Longer than any test: what is to be answered so late, is not answered.
NEVER = Fault(delay=3600)


class Objects(Protocol):
    """Puts objects on the web server, and gives their URIs; their bodies tell their numbers."""

    def __call__(self, count: int, size: int = 1000) -> list[str]: ...


def body(number: int, size: int = 1000) -> bytes:
    return f"{number:05}".encode() * (size // 5)


@pytest.fixture
def proxy(http_server: HTTPServer) -> Iterator[Proxy]:
    with http_server.proxied() as proxy:
        yield proxy


@pytest.fixture
def objects(http_server: HTTPServer, proxy: Proxy) -> Objects:
    def put(count: int, size: int = 1000) -> list[str]:
        for number in range(count):
            http_server.put(f"/{number:03}.jpg", body(number, size))
        return [f"{proxy.endpoint}/{number:03}.jpg" for number in range(count)]

    return put


@pytest.fixture
def web(make_cache: MakeCache, proxy: Proxy) -> Any:
    """Makes caches that may fetch from the web server."""

    def make(**settings: Any) -> MediaCache:
        return make_cache(allowed_sources=[proxy.endpoint + "/"], **settings)

    return make


def look_ahead(cache: MediaCache, uris: list[str], **options: Any) -> LookAhead:
    return cache.look_ahead([(uri,) for uri in uris], **options)


@pytest.mark.parametrize(
    "sizes",
    [
        {"batch_size": 0},
        {"batch_size": -5},
        {"target_size_bytes": 0},
        {"target_size_bytes": -7},
        {"target_size_bytes": "much"},
    ],
    ids=str,
)
def test_sizes_without_a_meaning_are_refused(web: Any, objects: Objects, sizes: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"is not allowed: must be a (number|size) from 1.*, or None"):
        web().download_context(objects(1), **sizes)


@pytest.mark.parametrize("size", ["2KB", "0.5MiB", "50GB", "1000", 1000, 1e3])
def test_a_batch_may_have_a_size_with_its_unit(web: Any, objects: Objects, size: Any) -> None:
    with web().download_context(objects(3), target_size_bytes=size) as paths:
        assert [Path(path).read_bytes() for path in paths] == [body(n) for n in range(3)]


def leases(cache: MediaCache) -> list[str]:
    return [lease.name for lease in cache.leases()]


class TestNothingIsWaitedForThatIsNotNeeded:
    def test_a_file_is_had_while_another_of_its_batch_is_on_its_way(
        self, web: Any, objects: Objects, proxy: Proxy
    ) -> None:
        uris = objects(8)
        proxy.fault("/007.jpg", NEVER)

        with web().download_context(uris, batch_size=8) as paths:
            read = [Path(path).read_bytes() for _, path in zip(range(7), paths, strict=False)]

        assert read == [body(n) for n in range(7)]

    def test_a_missing_object_does_not_wait_for_its_batch_either(
        self, web: Any, objects: Objects, proxy: Proxy
    ) -> None:
        uris = objects(8)
        uris[1] = f"{proxy.endpoint}/none.jpg"
        proxy.fault("/007.jpg", NEVER)
        ahead = look_ahead(web(), uris, batch_size=8)

        with pytest.raises(ObjectNotFoundError):
            ahead.path(1, uris[1])

        # And was asked for once.
        assert proxy.count(path="/none.jpg") == 1
        assert ahead.failures == {uris[1]: f"{uris[1]}: no such object (404 Not Found)"}
        ahead.close()

    def test_nor_does_an_update(
        self, web: Any, objects: Objects, http_server: HTTPServer, proxy: Proxy
    ) -> None:
        # Given a cached object that has changed at its source, and another that does not come.
        cache, uris = web(), objects(2)
        cache.local_path(uris[0])
        http_server.put("/000.jpg", b"new")
        proxy.fault("/001.jpg", NEVER)

        with cache.download_context(uris, batch_size=2, update=True) as paths:
            assert Path(next(iter(paths))).read_bytes() == b"new"

    def test_closing_does_not_wait_for_an_answer(self, web: Any, objects: Objects, proxy: Proxy) -> None:
        cache, uris = web(), objects(4)
        proxy.fault("/003.jpg", NEVER)

        with cache.download_context(uris, batch_size=4) as paths:
            assert Path(next(iter(paths))).read_bytes() == body(0)

        assert leases(cache) == []

    def test_what_is_cached_needs_no_source(self, web: Any, objects: Objects, proxy: Proxy) -> None:
        cache, uris = web(), objects(40)
        cache.download_media(uris)
        proxy.reset()

        with cache.download_context(uris) as paths:
            assert [Path(path).read_bytes() for path in paths] == [body(n) for n in range(40)]

        assert proxy.requests == []


class TestNothingIsLeftBehind:
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
    def test_a_block_that_raises(self, web: Any, objects: Objects, error: type[BaseException]) -> None:
        cache, uris = web(), objects(40)

        def loop() -> None:
            with cache.download_context(uris, batch_size=8) as paths:
                for _ in paths:
                    assert leases(cache)
                    raise error

        with pytest.raises(error):
            loop()

        assert leases(cache) == []
        assert cache.engine.open_index().entries.totals().reserved == 0
        assert cache.jobs() == []

    def test_a_forked_child_that_leaves_the_block(self, web: Any, objects: Objects) -> None:
        # Given a loop in its second batch
        cache, uris = web(), objects(40)
        with cache.download_context(uris, batch_size=4) as paths:
            loop = iter(paths)
            for _ in range(5):
                next(loop)
            eventually(lambda: len(leases(cache)) == 2)
            held = leases(cache)

            # When a child goes on with the loop, and ends
            def go_on() -> None:
                assert [Path(path).read_bytes() for path in loop] == [body(n) for n in range(5, 40)]
                paths.close()

            child = FORK.Process(target=go_on)
            child.start()
            child.join(60)

            # Then the parent still has what it had.
            assert child.exitcode == 0
            assert leases(cache) == held
            assert [Path(path).read_bytes() for path in loop] == [body(n) for n in range(5, 40)]
        assert leases(cache) == []

    def test_a_child_that_is_forked_while_a_thread_gives_up_batches(self, web: Any, objects: Objects) -> None:
        # Given a thread of the parent's that has found no room, and is at what is fetched ahead
        cache, uris = web(), objects(2)
        ahead = look_ahead(cache, uris)
        ahead.wait(0)
        is_held, is_over = threading.Event(), threading.Event()

        def hold() -> None:
            with ahead._lock:
                is_held.set()
                is_over.wait(60)

        thread = threading.Thread(target=hold)
        ahead._short_of_room.add(1)
        thread.start()
        is_held.wait(60)

        # When a child is forked, then it does not wait for that thread, which it does not have.
        child = FORK.Process(target=lambda: ahead.path(0, uris[0]))
        child.start()
        child.join(20)
        has_ended = not child.is_alive()
        child.kill()
        is_over.set()
        thread.join()
        ahead.close()
        assert has_ended
        assert child.exitcode == 0

    def test_a_process_that_may_start_no_thread(
        self, web: Any, objects: Objects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        # Given a system that refuses the threads that fetch ahead
        cache, uris = web(), objects(5)
        start = threading.Thread.start

        def refusing(thread: threading.Thread) -> None:
            if thread.name == "forebay-ahead":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refusing)

        # When a loop goes on, then each sample is fetched when it is asked for, and the log tells why.
        with cache.download_context(uris, batch_size=2) as paths:
            assert [Path(path).read_bytes() for path in paths] == [body(n) for n in range(5)]
        told = [one.getMessage() for one in caplog.records if one.name == "forebay.lookahead.window"]
        assert told == ["cannot fetch ahead: can't start new thread; samples are fetched when asked for"]

    def test_a_killed_process_holds_the_cache_for_two_minutes_at_most(
        self, web: Any, objects: Objects
    ) -> None:
        cache, uris = web(), objects(40)

        def die() -> None:
            for _ in web().download_context(uris, batch_size=40):
                os._exit(1)

        child = FORK.Process(target=die)
        child.start()
        child.join(60)

        assert [0 < lease.seconds_left <= 120 for lease in cache.leases()] == [True]

    def test_a_failure_that_is_cured_by_the_time_of_its_turn(
        self, web: Any, objects: Objects, proxy: Proxy
    ) -> None:
        cache, uris = web(max_attempts=1), objects(2)
        proxy.fault("/001.jpg", Fault(status=503), times=1)
        ahead = look_ahead(cache, uris, batch_size=2)

        ahead.path(0, uris[0])
        eventually(lambda: uris[1] in ahead.failures)

        assert Path(ahead.path(1, uris[1])).read_bytes() == body(1)
        assert ahead.failures == {}
        ahead.close()


class TestLoopsThatAreNotStraight:
    def test_threads_that_share_a_loop(self, web: Any, objects: Objects) -> None:
        # Given a cache of a tenth of the objects, and eight threads that take one after the other
        cache, uris = web(cache_size_bytes=30_000), objects(300)
        ahead = look_ahead(cache, uris)
        numbers, lock = iter(range(300)), threading.Lock()
        read: dict[int, bytes] = {}

        def work() -> None:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                with ahead.reading(number, uris[number]) as path:
                    read[number] = Path(path).read_bytes()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ahead.close()

        # Then each has got what it asked for.
        assert read == {number: body(number) for number in range(300)}
        assert leases(cache) == []

    def test_a_loop_that_begins_anew_is_looked_ahead_of_again(
        self, web: Any, objects: Objects, proxy: Proxy
    ) -> None:
        # Given a loop through a cache that keeps a part of it
        cache, uris = web(cache_size_bytes=30_000), objects(100)
        ahead = look_ahead(cache, uris, batch_size=10)
        for number in range(100):
            ahead.path(number, uris[number])
        proxy.reset()

        # When it begins anew
        for number in range(5):
            ahead.path(number, uris[number])

        # Then what it has not come to yet is on its way.
        eventually(lambda: proxy.count(path="/014.jpg") > 0)
        ahead.close()

    def test_a_loop_in_any_order(self, web: Any, objects: Objects) -> None:
        cache, uris = web(cache_size_bytes=10_000), objects(50)
        ahead = look_ahead(cache, uris, batch_size=2)

        for number in [*range(49, -1, -1), *range(0, 50, 7), 3, 3, 2, 4, *range(50)]:
            with ahead.reading(number, uris[number]) as path:
                assert Path(path).read_bytes() == body(number)

        ahead.close()
        assert leases(cache) == []


class TestTheGracePeriod:
    def test_what_is_read_at_once_makes_room_within_it(
        self, web: Any, objects: Objects, tmp_path: Path
    ) -> None:
        # Given a grace period that the test does not outlive, and a cache of a tenth of the objects
        cache, uris = web(cache_size_bytes=30_000, grace_seconds=3600), objects(300)
        ahead = look_ahead(cache, uris)

        # When a loop reads each at once
        with Watcher(tmp_path / "cache") as watcher:
            for number, uri in enumerate(uris):
                with ahead.reading(number, uri) as path:
                    assert Path(path).read_bytes() == body(number)
        ahead.close()

        # Then it has come to its end.
        assert 20_000 < watcher.largest <= 30_000

    def test_files_that_cannot_be_removed_do_not_keep_those_behind_them(
        self, web: Any, objects: Objects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Given a small cache, a grace period that the test does not outlive, and three files of which the
        # system refuses to remove any
        cache, uris = web(cache_size_bytes=30_000, grace_seconds=3600), objects(100)
        unlink = Beneath.unlink

        def refusing(beneath: Beneath, path: str) -> None:
            if path.endswith(("/000.jpg", "/001.jpg", "/002.jpg")):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
            unlink(beneath, path)

        monkeypatch.setattr(Beneath, "unlink", refusing)

        # When a loop reads each at once, then it comes to its end.
        ahead = look_ahead(cache, uris)
        for number, uri in enumerate(uris):
            with ahead.reading(number, uri) as path:
                assert Path(path).read_bytes() == body(number)
        ahead.close()

    def test_a_path_that_somebody_else_was_given_stays(self, web: Any, objects: Objects) -> None:
        # Given a loop, and another program that gets the path of a file that the loop has fetched
        cache, uris = web(cache_size_bytes=30_000, grace_seconds=3600), objects(300)
        ahead, other = look_ahead(cache, uris), web(cache_size_bytes=30_000, grace_seconds=3600)
        with ahead.reading(0, uris[0]):
            kept = other.local_path(uris[0])

        # When the loop goes on
        for number, uri in list(enumerate(uris))[1:]:
            with ahead.reading(number, uri):
                pass
        ahead.close()

        # Then that file is still there.
        assert Path(kept).read_bytes() == body(0)


class TestACacheOfTwoFiles:
    @pytest.mark.parametrize("batch_size", [None, 20, 1])
    @pytest.mark.parametrize("is_read_at_once", [True, False], ids=["reading", "path"])
    def test_a_loop_comes_to_its_end(
        self, web: Any, objects: Objects, batch_size: int | None, is_read_at_once: bool
    ) -> None:
        # Given batches that hold many times more than the cache, which two files fill
        cache, uris = web(cache_size_bytes=2500, grace_seconds=0.01), objects(40)
        ahead = look_ahead(cache, uris, batch_size=batch_size)

        # When a loop goes through them, what it is at has the room, and what comes later gives way.
        for number, uri in enumerate(uris):
            if is_read_at_once:
                with ahead.reading(number, uri) as path:
                    assert Path(path).read_bytes() == body(number)
            else:
                assert Path(ahead.path(number, uri)).read_bytes() == body(number)
        ahead.close()
        assert leases(cache) == []

    def test_batches_are_as_large_as_what_was_cached_of_the_first_one_says(
        self, web: Any, objects: Objects
    ) -> None:
        # Given a loop of whose first samples most are not there, and a cache of nine files
        uris = objects(60)
        uris[1:14] = [f"{uri}.missing" for uri in uris[1:14]]
        cache = web(cache_size_bytes=9000)
        ahead = look_ahead(cache, uris)

        # When it has come to what follows
        sizes = []
        for number, uri in enumerate(uris):
            with contextlib.suppress(ObjectNotFoundError):
                ahead.path(number, uri)
            if number >= 16:
                sizes += [entries for _, _, entries in cache.engine.open_index().leases.all()]
        ahead.close()

        # Then a batch has no more samples than a third of the cache holds.
        assert 1 < max(sizes) <= 3
