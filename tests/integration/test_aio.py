"""The cache for coroutines: no thread for each of them, and what a cancelled task had claimed is free."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import forebay
from forebay.aio import AsyncMediaCache
from forebay.cache import MediaCache
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")

FORK = multiprocessing.get_context("fork")
# Until what must come, has come; only ends what hangs.
PATIENCE = 60.0
# Those that move bytes, make calls, fetch and keep alive; however many tasks wait.
FEW = 24
STALLED = Fault(stall_after=10)
_T = TypeVar("_T")


def body(number: int) -> bytes:
    return f"photo {number}".encode() * 100


def photos(server: S3Server, bucket: str, count: int) -> list[str]:
    return server.put_many(bucket, {f"p/{n:04}.bin": body(n) for n in range(count)})


def run(main: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def own_threads() -> int:
    """The threads of Forebay, without those that complete files where the volume is slow (32 at most)."""
    names = [thread.name for thread in threading.enumerate()]
    return sum(name.startswith("forebay") and not name.startswith("forebay-files") for name in names)


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[list[int]]:
    """Counts how often the event loop comes around, and notes the new threads of Forebay each time."""
    ticks: list[int] = []
    # Caches of earlier tests may have some in this process.
    before = own_threads()

    async def tick() -> None:
        while True:
            ticks.append(own_threads() - before)
            await asyncio.sleep(0.001)

    task = asyncio.create_task(tick())
    try:
        yield ticks
    finally:
        task.cancel()


def held(cache: MediaCache) -> tuple[dict[str, str], list[str], int]:
    """What a download in flight holds: claims, partial files, reserved bytes."""
    index = cache.engine.open_index()
    return index.claims.all(), cache.engine.files.temporaries(), index.entries.totals().reserved


NOTHING: tuple[dict[str, str], list[str], int] = ({}, [], 0)


# Paths


def test_a_missing_file_is_fetched_and_a_cached_one_is_found(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)

    async def main() -> list[str]:
        aio = AsyncMediaCache(cache)
        return [
            await aio.local_path(uri),
            await aio.local_path(Path("/tmp/a.jpg")),
            await aio.local_path(uri),
        ]

    first, local, second = run(main())

    assert Path(first).read_bytes() == body(0)
    assert (local, second) == ("/tmp/a.jpg", first)
    assert proxied.count("GET") == 1
    assert (cache.engine.counters.misses, cache.engine.counters.hits) == (1, 1)
    assert held(cache) == NOTHING


def test_500_misses_at_a_time_need_a_few_threads_and_the_loop_goes_on(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 500)

    async def main() -> tuple[list[str], list[int]]:
        aio = AsyncMediaCache(cache)
        async with ticking() as threads:
            return await asyncio.gather(*map(aio.local_path, uris)), threads

    paths, threads = run(main())

    assert [Path(path).read_bytes() for path in paths] == [body(n) for n in range(500)]
    assert max(threads) <= FEW
    assert len(threads) > 10
    assert held(cache) == NOTHING


def test_a_loop_goes_round_and_round_while_a_source_does_not_answer(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    # given 20 objects that stop in the middle, one that comes, and one that is there
    *stalled, comes, there = photos(s3_server, s3_bucket, 22)
    cache.local_path(there)
    for uri in stalled:
        proxied.fault("/" + uri.removeprefix("s3://"), STALLED)

    async def main() -> int:
        aio = AsyncMediaCache(cache)
        async with ticking() as ticks:
            waiting = [asyncio.create_task(aio.local_path(uri)) for uri in stalled]
            await until(lambda: len(held(cache)[0]) == 20)
            # when the loop goes on for a while
            before = len(ticks)
            await until(lambda: len(ticks) > before + 50)
            # then hits and other misses come meanwhile
            assert Path(await aio.local_path(there)).read_bytes() == body(21)
            assert Path(await aio.local_path(comes)).read_bytes() == body(20)
            assert not any(task.done() for task in waiting)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            await until(lambda: held(cache) == NOTHING)
        return len(ticks)

    assert run(main()) > 50


def test_tasks_that_want_the_same_object_share_one_download(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)

    async def main() -> list[str]:
        return await asyncio.gather(*(AsyncMediaCache(cache).local_path(uri) for _ in range(30)))

    assert len(set(run(main()))) == 1
    assert proxied.count("GET") == 1


def test_what_fails_costs_only_its_own_task(cache: MediaCache, s3_server: S3Server, s3_bucket: str) -> None:
    uris = photos(s3_server, s3_bucket, 10)
    missing = f"s3://{s3_bucket}/missing.jpg"

    async def main() -> list[Any]:
        aio = AsyncMediaCache(cache)
        wanted = [*uris, missing, missing, "s3://", "gopher://host/key"]
        return await asyncio.gather(*map(aio.local_path, wanted), return_exceptions=True)

    *paths, first, second, broken, unknown = run(main())

    assert [Path(path).read_bytes() for path in paths] == [body(n) for n in range(10)]
    assert type(first) is type(second) is forebay.ObjectNotFoundError
    assert first is not second
    assert str(first) == str(second)
    assert type(broken) is type(unknown) is forebay.UriError
    with pytest.raises(forebay.ObjectNotFoundError) as raised:
        cache.local_path(missing)
    assert str(raised.value) == str(first)
    assert held(cache) == NOTHING


def test_a_redis_that_is_not_there_fails_all_that_wait_for_it(make_cache: MakeCache, s3_bucket: str) -> None:
    cache = make_cache(redis_url="redis://127.0.0.1:1/0")

    async def main() -> list[Any]:
        aio = AsyncMediaCache(cache)
        wanted = (aio.local_path(f"s3://{s3_bucket}/{n}") for n in range(5))
        return await asyncio.gather(*wanted, return_exceptions=True)

    errors = run(main())

    assert {type(error) for error in errors} == {forebay.IndexUnavailableError}
    assert len({id(error) for error in errors}) == 5


def test_a_cache_that_is_closed_fails_what_waits_and_opens_again(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    stalled, uri = photos(s3_server, s3_bucket, 2)
    proxied.fault("/" + stalled.removeprefix("s3://"), STALLED)

    async def main() -> str:
        aio = AsyncMediaCache(cache)
        waiting = asyncio.create_task(aio.local_path(stalled))
        await until(lambda: proxied.requests and proxied.requests[0].sent)
        await asyncio.get_running_loop().run_in_executor(None, cache.close)
        with pytest.raises(forebay.ForebayError):
            await asyncio.gather(waiting)
        return await aio.local_path(uri)

    assert Path(run(main())).read_bytes() == body(1)


def test_a_cache_much_smaller_than_what_is_wanted_serves_one_after_the_other(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
) -> None:
    cache = make_cache(cache_size_bytes=10_000)
    uris = photos(s3_server, s3_bucket, 60)

    async def main() -> list[bytes]:
        aio = AsyncMediaCache(cache)

        async def read(uri: str) -> bytes:
            with await aio.open(uri) as file:
                return file.read()

        return await asyncio.gather(*map(read, uris))

    assert run(main()) == [body(n) for n in range(60)]
    assert cache.stats()["current_size"] <= 10_000


# Cancellation


@pytest.mark.parametrize("how", ["cancel", "timeout", "abandon"])
def test_what_a_cancelled_task_had_claimed_is_free_for_others(
    how: str, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    # given a download that is stuck half way
    cache, other = make_cache(), make_cache()
    [uri] = photos(s3_server, s3_bucket, 1)
    proxied.fault(None, STALLED, times=1)
    aio = AsyncMediaCache(cache)

    async def begin() -> asyncio.Task[str]:
        task = asyncio.create_task(aio.local_path(uri))
        await until(lambda: proxied.requests and proxied.requests[0].sent)
        assert len(held(cache)[0]) == 1
        return task

    async def main() -> None:
        task = await begin()
        if how == "cancel":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(task, 0.01)

    # when its task ends, or its event loop does without it
    if how == "abandon":
        loop = asyncio.new_event_loop()
        task = loop.run_until_complete(begin())
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.close()
    else:
        run(main())

    # then another process fetches the object, and nothing is left of the first attempt
    async def fetch() -> str:
        path = await AsyncMediaCache(other).local_path(uri)
        await until(lambda: held(cache) == NOTHING)
        return path

    assert Path(run(fetch())).read_bytes() == body(0)
    assert proxied.count("GET") == 2
    assert cache.engine.counters.counts().get(("objects|failed", f"s3://{s3_bucket}")) is None


INTERRUPTED = """
import asyncio, sys
import forebay

async def main():
    waiting = asyncio.gather(*map(forebay.aio.local_path, sys.argv[1:]))
    print("begun", flush=True)
    await waiting

asyncio.run(main())
"""


def test_a_program_that_is_interrupted_ends_and_leaves_nothing(
    cache: MediaCache, forebay: Forebay, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    # given a program that waits for objects which stop in the middle
    uris = photos(s3_server, s3_bucket, 5)
    proxied.fault(None, STALLED)
    command = [sys.executable, "-c", INTERRUPTED, *uris]
    program = subprocess.Popen(command, env=forebay.environment(), stderr=subprocess.PIPE, text=True)
    run(until(lambda: len(held(cache)[0]) == 5 and sum(bool(one.sent) for one in proxied.requests) == 5))

    # when it gets a Ctrl-C
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=PATIENCE)

    # then it ends as other programs of asyncio do, and others can fetch at once
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    assert held(cache) == NOTHING
    proxied.reset()
    assert Path(cache.local_path(uris[0])).read_bytes() == body(0)


def test_a_coroutine_that_is_thrown_away_frees_what_it_had_claimed(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)
    proxied.fault(None, STALLED)
    loop = asyncio.new_event_loop()
    asking = AsyncMediaCache(cache).local_path(uri)

    # given a coroutine that waits, and whose event loop is closed
    async def step() -> None:
        asking.send(None)
        await until(lambda: proxied.requests and proxied.requests[0].sent)

    loop.run_until_complete(step())
    loop.close()

    # when nothing refers to it any more
    asking.close()

    run(until(lambda: held(cache) == NOTHING))


def test_a_task_that_is_cancelled_leaves_the_download_to_another(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)
    proxied.fault(None, Fault(delay=0.3), times=1)

    async def main() -> str:
        aio = AsyncMediaCache(cache)
        first, second = (asyncio.create_task(aio.local_path(uri)) for _ in range(2))
        await until(lambda: proxied.requests)
        first.cancel()
        return await second

    assert Path(run(main())).read_bytes() == body(0)
    assert proxied.count("GET") == 1


def test_an_object_is_wanted_again_while_it_is_being_given_up(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)
    proxied.fault(None, STALLED)

    async def main() -> str:
        aio = AsyncMediaCache(cache)
        for count in range(20):
            task = asyncio.create_task(aio.local_path(uri))
            await until(lambda count=count: len(proxied.requests) > count)  # type: ignore[misc]
            task.cancel()
            await asyncio.wait([task])
        proxied.reset()
        return await aio.local_path(uri)

    assert Path(run(main())).read_bytes() == body(0)
    assert held(cache) == NOTHING


def test_of_many_cancelled_at_any_moment_nothing_is_left(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 300)
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()

    async def main() -> None:
        aio = AsyncMediaCache(cache)
        for left in (0, 1, 5, 50, 250):
            tasks = [asyncio.create_task(aio.local_path(uri)) for uri in uris]
            await until(lambda tasks=tasks, left=left: sum(t.done() for t in tasks) >= left)  # type: ignore[misc]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        await until(lambda: held(cache) == NOTHING)
        # then the rest comes
        assert len(set(await asyncio.gather(*map(aio.local_path, uris)))) == 300

    run(main())

    assert held(cache) == NOTHING
    assert cache.stats()["current_count"] == 300
    open_files = [fd for fd in os.listdir("/proc/self/fd") if fd not in before] if before else []
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in open_files if os.path.exists(f"/proc/self/fd/{fd}")]
    assert [name for name in names if name.startswith(cache.config.cache_dir)] == []


# Event loops, threads and processes


def test_event_loops_in_several_threads_and_one_after_the_other(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 60)
    aio = AsyncMediaCache(cache)
    found: list[list[str]] = []

    async def main(share: list[str]) -> list[str]:
        return await asyncio.gather(*map(aio.local_path, share))

    # given loops that want some of the same objects at the same time
    shares = [uris[:40], uris[20:], uris[:40]]
    threads = [
        threading.Thread(target=lambda share=share: found.append(run(main(share)))) for share in shares
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(map(len, found)) == [40, 40, 40]
    assert set(proxied.counts().values()) == {1}
    # and another loop after them
    cache.clear()
    assert len(run(main(uris))) == 60


def test_a_forked_child_fetches_after_its_parent_has(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 40)
    aio = AsyncMediaCache(cache)

    async def main(share: list[str]) -> list[str]:
        with await aio.open(share[0]):
            return [path async for path in aio.download_context(share)]

    run(main(uris[:10]))

    def fetch(share: list[str]) -> None:
        assert [len(Path(path).read_bytes()) for path in run(main(share))] == [len(body(10))] * 10

    children = [FORK.Process(target=fetch, args=(uris[n : n + 10],)) for n in (10, 20, 30)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)

    assert [child.exitcode for child in children] == [0, 0, 0]


def test_the_default_cache_has_the_settings_of_the_environment(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [uri] = photos(s3_server, s3_bucket, 1)
    # `import forebay` is enough
    aio = forebay.aio
    monkeypatch.setattr(aio, "media_cache", AsyncMediaCache(cache), raising=False)
    names = [name for name in aio.__all__ if name.islower() and name != "media_cache"]
    for name in names:
        monkeypatch.delitem(vars(aio), name, raising=False)

    async def main() -> str:
        async for path in aio.download_context([uri]):
            assert path == await aio.local_path(uri)
        return path

    try:
        assert Path(run(main())).read_bytes() == body(0)
    finally:
        for name in names:
            vars(aio).pop(name, None)


# Loops


def test_a_loop_gets_the_paths_in_order(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 200)

    async def main() -> tuple[list[bytes], int]:
        async with ticking() as ticks:
            paths = AsyncMediaCache(cache).download_context(uris, batch_size=20)
            return [Path(path).read_bytes() async for path in paths], max(ticks)

    found, threads = run(main())

    assert found == [body(n) for n in range(200)]
    assert set(proxied.counts().values()) == {1}
    assert threads <= FEW
    assert cache.leases() == []


def test_a_set_much_larger_than_the_cache_passes_through(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
) -> None:
    cache = make_cache(cache_size_bytes=20_000)
    uris = photos(s3_server, s3_bucket, 150)

    async def main() -> list[bytes]:
        paths = AsyncMediaCache(cache).download_context(uris, batch_size=8, clear=True)
        return [Path(path).read_bytes() async for path in paths]

    assert run(main()) == [body(n) for n in range(150)]
    assert cache.stats()["current_count"] == 0
    assert cache.leases() == []


def test_samples_that_do_not_fit_beside_what_comes_later_take_its_room(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
) -> None:
    # given samples of which the first batch alone is larger than the cache
    cache = make_cache(cache_size_bytes=3_000)
    uris = photos(s3_server, s3_bucket, 12)

    async def main() -> list[bytes]:
        paths = AsyncMediaCache(cache).download_context(uris, batch_size=10)
        return [Path(path).read_bytes() async for path in paths]

    assert run(main()) == [body(n) for n in range(12)]


def test_a_loop_goes_on_after_a_sample_that_failed_or_ends(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 4)
    uris.insert(2, f"s3://{s3_bucket}/missing.jpg")
    aio = AsyncMediaCache(cache)

    async def main() -> list[str]:
        paths = aio.download_context(uris)
        found = [path async for path in paths]
        assert [uri for uri, _ in paths.failures] == [uris[2]]
        assert type(paths.failures[0][1]) is forebay.ObjectNotFoundError
        with pytest.raises(forebay.ObjectNotFoundError):
            async for _ in aio.download_context(uris, skip_failures=False):
                pass
        return found

    assert [os.path.exists(path) for path in run(main())] == [True, True, False, True, True]
    assert cache.leases() == []
    with pytest.raises(forebay.ConfigError):
        aio.download_context(uris, batch_size=0)


def test_a_loop_that_is_left_ends_its_leases(cache: MediaCache, s3_server: S3Server, s3_bucket: str) -> None:
    uris = photos(s3_server, s3_bucket, 60)
    aio = AsyncMediaCache(cache)

    async def main() -> None:
        # given a loop in a block, and another one
        async with aio.download_context(uris, batch_size=10) as paths:
            async for _ in paths:
                assert cache.leases() != []
                break
        assert cache.leases() == []
        async for _ in aio.download_context(uris, batch_size=10):
            break
        await until(lambda: cache.leases() == [])

    run(main())

    assert held(cache) == NOTHING


def test_a_loop_that_is_cancelled_while_it_waits_ends_its_leases(
    cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    uris = photos(s3_server, s3_bucket, 20)
    proxied.fault(None, STALLED)

    async def loop() -> None:
        async for _ in AsyncMediaCache(cache).download_context(uris, batch_size=5):
            pytest.fail("nothing can come")

    async def main() -> int:
        task = asyncio.create_task(loop())
        async with ticking() as ticks:
            await until(lambda: proxied.requests and cache.leases() and len(ticks) > 50)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return len(ticks)

    assert run(main()) > 50
    assert cache.leases() == []


# Jobs


def test_samples_are_downloaded_by_a_job(cache: MediaCache, s3_server: S3Server, s3_bucket: str) -> None:
    uris = photos(s3_server, s3_bucket, 100)
    shown: list[int] = []

    async def main() -> list[str]:
        aio = AsyncMediaCache(cache)
        job = await aio.download_media(
            [*uris, f"s3://{s3_bucket}/no.jpg"], progress=lambda s: shown.append(s.total)
        )
        assert (job.state, job.downloaded, job.failed) == ("done", 100, 1)
        with pytest.raises(forebay.DownloadError):
            await aio.download_media([f"s3://{s3_bucket}/no.jpg"], skip_failures=False)
        return await aio.get_local_paths(uris)

    assert [Path(path).read_bytes() for path in run(main())] == [body(n) for n in range(100)]
    assert set(shown) == {101}


def test_a_task_that_is_cancelled_cancels_its_job(
    make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
) -> None:
    cache = make_cache(max_requests=4)
    uris = photos(s3_server, s3_bucket, 50)
    proxied.fault(None, STALLED)

    async def main() -> None:
        task = asyncio.create_task(AsyncMediaCache(cache).download_media(uris))
        await until(lambda: proxied.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())

    assert [status.state for status in cache.jobs()] == ["cancelled"]


def test_a_task_that_is_cancelled_twice_while_its_job_is_made_cancels_it(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a job that takes its time to be made
    cache, uris = make_cache(), photos(s3_server, s3_bucket, 5)
    making, may_go_on = threading.Event(), threading.Event()
    make = cache.create_job

    def slowly(*arguments: Any, **options: Any) -> Any:
        making.set()
        may_go_on.wait(PATIENCE)
        return make(*arguments, **options)

    monkeypatch.setattr(cache, "create_job", slowly)

    async def main() -> None:
        task = asyncio.create_task(AsyncMediaCache(cache).download_media(uris))
        await until(making.is_set)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        may_go_on.set()
        await until(
            lambda: any(cache.engine.open_index().jobs.read(job.id).get("cancelled") for job in cache.jobs())
        )

    run(main())


def test_another_event_loop_than_that_of_asyncio_is_refused(cache: MediaCache, s3_bucket: str) -> None:
    # as in trio, whose loop asyncio does not know
    aio = AsyncMediaCache(cache)
    for waiting in (aio.local_path(f"s3://{s3_bucket}/a"), aio.download_media([f"s3://{s3_bucket}/a"])):
        with pytest.raises(forebay.ForebayError, match=r"forebay.aio needs an event loop of asyncio"):
            waiting.send(None)


def test_what_is_no_operation_for_coroutines_is_not_there() -> None:
    assert "local_path" in dir(forebay.aio)
    with pytest.raises(AttributeError, match="no attribute 'evict'"):
        forebay.aio.evict  # noqa: B018
