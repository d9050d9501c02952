"""Large objects are read before all of their bytes are there, and each block is downloaded once."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.errors import ObjectChangedError
from forebay.uri.blocks import BLOCK_BYTES
from tests.caches import MakeCache, maintain
from tests.limits import Watcher
from tests.servers.embedded import eventually
from tests.servers.http_server import http_server
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")

FORK = multiprocessing.get_context("fork")
MIB = 1 << 20


@pytest.fixture
def body() -> bytes:
    return random.Random(7).randbytes(20 * MIB + 12_345)


@pytest.fixture
def video(s3_server: S3Server, s3_bucket: str, body: bytes) -> str:
    """A large object."""
    return s3_server.put(s3_bucket, "day/video.mp4", body)


def ranges(proxy: Proxy) -> list[str | None]:
    """What the requests for objects asked for."""
    return [request.range for request in proxy.requests if request.method == "GET"]


def range_of(number: int, size: int) -> str:
    """The header that asks for a block."""
    return f"bytes={number * BLOCK_BYTES}-{min((number + 1) * BLOCK_BYTES, size) - 1}"


def blocks_on(cache: MediaCache) -> list[Path]:
    """The files of blocks on a cache's volume."""
    return [path for path in Path(cache.config.cache_dir, "media").rglob("*%p/*/*") if path.is_file()]


class TestRandom:
    def test_reads_fetch_the_blocks_that_they_touch_and_no_others(
        self, cache: MediaCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        # when a few places are read, one of them across two blocks
        with cache.open(video) as file:
            for start in (15 * MIB + 3, 3 * MIB, 9 * MIB - 10):
                file.seek(start)
                assert file.read(20) == body[start : start + 20]

        # then the first block, which told the object's version, and those four were asked for
        assert sorted(map(str, ranges(proxied))) == sorted(
            range_of(number, len(body)) for number in (0, 15, 3, 8, 9)
        )
        assert len(blocks_on(cache)) == 5

    def test_reads_again_ask_for_nothing(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        with make_cache().open(video) as file:
            file.seek(7 * MIB)
            file.read(100)
        asked = len(proxied.requests)

        # when another process reads the same places
        with make_cache().open(video) as file:
            assert file.read(10) == body[:10]
            file.seek(7 * MIB + 50)
            assert file.read(50) == body[7 * MIB + 50 : 7 * MIB + 100]

        assert len(proxied.requests) == asked

    def test_reads_count_as_hits_misses_and_bytes(self, cache: MediaCache, video: str) -> None:
        with cache.open(video) as file:
            file.seek(5 * MIB)
            file.read(10)
            file.seek(0)
            file.read(10)
        counted = cache.engine.counters
        assert (counted.hits, counted.misses) == (1, 2)


class TestInOrder:
    def test_a_file_that_is_read_to_its_end_is_an_ordinary_cached_file(
        self, cache: MediaCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        # when all of it is read, in pieces that fit no block
        with cache.open(video) as file:
            pieces = []
            while piece := file.read(300_001):
                pieces.append(piece)
        assert b"".join(pieces) == body

        # then each block was asked for once, and the file is there, without them and without another request
        assert Counter(ranges(proxied)) == Counter(range_of(n, len(body)) for n in range(21))
        assert Path(cache.local_path(video)).read_bytes() == body
        assert len(ranges(proxied)) == 21
        assert blocks_on(cache) == []
        assert cache.stats()["current_size"] == len(body)

    def test_a_file_that_others_have_completed_is_read_on_without_a_request(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        # given a reader, and another one that reads all of the object, whose blocks are a file then
        with make_cache().open(video) as file:
            file.seek(3 * MIB)
            file.read(1)
            with make_cache().open(video) as other:
                assert other.read() == body
            assert blocks_on(make_cache()) == []
            before = len(proxied.requests)

            # when the first one reads on
            file.seek(7 * MIB)
            assert file.read() == body[7 * MIB :]

        assert len(proxied.requests) == before
        assert blocks_on(make_cache()) == []

    def test_an_object_larger_than_half_the_cache_is_read_within_the_limit(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        cache = make_cache(cache_size_bytes=6 * MIB)
        with cache.open(video) as file:
            assert file.read() == body
        # What was fetched ahead was not evicted before it was read.
        assert Counter(ranges(proxied)) == Counter(range_of(n, len(body)) for n in range(21))
        assert 0 < cache.stats()["current_size"] <= 6 * MIB

    def test_lines_and_the_end_are_found(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        text = b"".join(b"%07d\n" % number for number in range(2_000_000))
        uri = s3_server.put(s3_bucket, "lines.csv", text)
        with cache.open(uri) as file:
            assert file.seek(-8, os.SEEK_END) == len(text) - 8
            assert file.readline() == b"1999999\n"
            assert file.read() == b""
            file.seek(MIB - 4)
            assert file.readline() + file.readline() == text[MIB - 4 : MIB + 12][: 4 + 8]
            with pytest.raises(ValueError, match="nothing before the beginning"):
                file.seek(-1)


class TestWhole:
    def test_a_small_object_is_downloaded_with_one_request(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a.jpg", b"jpeg" * 1000)
        with cache.open(uri) as file:
            assert file.read() == b"jpeg" * 1000
        assert len(ranges(proxied)) == 1
        assert Path(cache.local_path(uri)).read_bytes() == b"jpeg" * 1000
        assert len(ranges(proxied)) == 1

    def test_an_empty_object_is_one(self, cache: MediaCache, s3_server: S3Server, s3_bucket: str) -> None:
        uri = s3_server.put(s3_bucket, "empty", b"")
        with cache.open(uri) as file:
            assert file.read() == b""
        assert os.path.getsize(cache.local_path(uri)) == 0

    @pytest.mark.parametrize(("whole", "in_parts"), [(None, False), (False, True), (True, False)])
    def test_of_a_middling_object_is_as_it_is_asked_for(
        self,
        cache: MediaCache,
        s3_server: S3Server,
        s3_bucket: str,
        whole: bool | None,
        in_parts: bool,
    ) -> None:
        content = random.Random(1).randbytes(3 * MIB)
        uri = s3_server.put(s3_bucket, "middling.png", content)
        with cache.open(uri, whole=whole) as file:
            file.seek(2 * MIB)
            assert file.read(5) == content[2 * MIB : 2 * MIB + 5]
            assert bool(blocks_on(cache)) is in_parts

    @pytest.mark.parametrize("lack", [{"ranges": False}, {"etag": None}, {"etag": 'W/"weak"'}])
    def test_is_what_comes_where_no_parts_of_one_version_are_sent(
        self, make_cache: MakeCache, body: bytes, lack: dict[str, object]
    ) -> None:
        with http_server() as server:
            cache = make_cache(allowed_sources=[f"{server.endpoint}/"])
            uri = server.put("/video.mp4", body, **lack)
            with cache.open(uri, whole=False) as file:
                assert file.read() == body
        assert blocks_on(cache) == []

    def test_is_what_local_path_makes_of_the_parts_that_are_there(
        self, cache: MediaCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        # given three blocks of an object
        with cache.open(video) as file:
            for start in (4 * MIB, 9 * MIB):
                file.seek(start)
                file.read(1)

        # when its path is asked for
        assert Path(cache.local_path(video)).read_bytes() == body

        # then only the others were downloaded
        assert Counter(ranges(proxied)) == Counter(range_of(n, len(body)) for n in range(21))
        assert blocks_on(cache) == []

    def test_is_asked_for_anew_where_its_file_is_gone_without_the_index_knowing(
        self, cache: MediaCache, video: str, body: bytes
    ) -> None:
        os.unlink(cache.local_path(video))
        with cache.open(video) as file:
            assert file.read(3) == body[:3]


class TestVersions:
    def test_of_an_object_never_mix(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, video: str, body: bytes
    ) -> None:
        file = cache.open(video)
        assert file.read(10) == body[:10]

        # when the object is replaced while it is open
        other = bytes(len(body))
        s3_server.put(s3_bucket, "day/video.mp4", other)

        # then nothing of it is taken for a part of the one that is open
        file.seek(0)
        assert file.read(10) == body[:10]
        file.seek(10 * MIB)
        with pytest.raises(ObjectChangedError):
            file.read(10)
        file.close()

        # and who opens it now reads the new version
        with cache.open(video) as file:
            assert file.read(10) == other[:10]
        assert Path(cache.local_path(video)).read_bytes() == other
        assert blocks_on(cache) == []

    def test_of_an_object_that_is_there_in_part_are_compared_when_it_is_completed(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, video: str
    ) -> None:
        with cache.open(video) as file:
            file.read(1)
        s3_server.put(s3_bucket, "day/video.mp4", b"new" * 4 * MIB)
        assert Path(cache.local_path(video)).read_bytes() == b"new" * 4 * MIB

    def test_that_were_read_are_forgotten_when_an_object_is_cleared(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, video: str
    ) -> None:
        with cache.open(video) as file:
            file.read(1)
        s3_server.put(s3_bucket, "day/video.mp4", b"new" * 4 * MIB)

        assert cache.clear([video]) == 1

        assert blocks_on(cache) == []
        with cache.open(video) as file:
            assert file.read(3) == b"new"


class TestLimit:
    def test_blocks_are_evicted_like_everything_else_and_come_again(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        cache = make_cache(cache_size_bytes=4 * MIB)
        with cache.open(video) as file:
            for number in (2, 5, 11, 17, 2, 7, 13, 19, 2):
                file.seek(number * MIB)
                assert file.read(7) == body[number * MIB : number * MIB + 7]
                assert cache.stats()["current_size"] <= 4 * MIB

    def test_a_lease_on_the_object_keeps_its_blocks(
        self, make_cache: MakeCache, video: str, s3_server: S3Server, s3_bucket: str
    ) -> None:
        # given a lease, one block that was there before it, and one that came after it
        cache = make_cache(cache_size_bytes=6 * MIB)
        others = s3_server.put_many(s3_bucket, {f"{n}.bin": bytes(MIB) for n in range(8)})
        with cache.open(video) as file:
            file.read(1)
            with cache.lease([video], "1h"):
                file.seek(12 * MIB)
                file.read(1)

                # when other objects take all the room that there is
                cache.download_media(others)
                assert len(blocks_on(cache)) == 2

            # then they stay until it ends
            cache.download_media(others, update=True)
            cache.evict("0")
            assert blocks_on(cache) == []


def read_at_random(
    make_cache: MakeCache, uri: str, body: bytes, seed: int, reads: int = 60, **settings: object
) -> None:
    cache = make_cache(**settings)
    chosen = random.Random(seed)
    with cache.open(uri) as file:
        for _ in range(reads):
            start = chosen.randrange(len(body) - 70_000)
            file.seek(start)
            assert file.read(65_536) == body[start : start + 65_536]
    cache.close()


class TestProcesses:
    def test_that_read_the_same_object_download_each_block_once(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        processes: list[BaseProcess] = [
            FORK.Process(target=read_at_random, args=(make_cache, video, body, seed)) for seed in range(8)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(100)
        assert [process.exitcode for process in processes] == [0] * 8
        asked = Counter(ranges(proxied))
        assert set(asked) >= {range_of(number, len(body)) for number in range(20)}
        assert asked == dict.fromkeys(asked, 1)

    def test_a_block_that_is_not_in_the_index_yet_hides_no_other(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        # Given a block in the cache, and others that have just appeared there and are not in the index yet
        with make_cache().open(video) as file:
            assert file.read(1) == body[:1]
        cache = make_cache()
        [first] = [path for path in blocks_on(cache) if path.name == "0"]
        for number in range(8, 18):
            first.with_name(str(number)).write_bytes(first.read_bytes())

        # Then who opens the object learns its version from the one
        with cache.open(video) as file:
            assert file.read(1) == body[:1]
        assert Counter(ranges(proxied))[range_of(0, len(body))] == 1

    def test_that_are_killed_hold_up_no_other(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes
    ) -> None:
        # given a process that is killed while the server keeps it waiting for a block
        proxied.fault(None, Fault(stall_after=10), times=1)
        victim = FORK.Process(target=read_at_random, args=(make_cache, video, body, 1))
        victim.start()
        eventually(lambda: any(request.sent for request in proxied.requests))
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()

        # then another one reads what it claimed
        read_at_random(make_cache, video, body, 1)

    def test_that_are_killed_in_a_small_cache_break_neither_the_limit_nor_any_bytes(
        self, make_cache: MakeCache, proxied: Proxy, video: str, body: bytes, tmp_path: Path
    ) -> None:
        # given eight readers of an object that is larger than their cache, so that they evict one another's
        # blocks, and an eviction of everything now and then
        limit, killed = 8 * MIB, tmp_path / "killed"
        cache = make_cache(cache_size_bytes=limit)
        cache.stats()

        def read(seed: int) -> None:
            # Not for fewer reads than the others need to be killed in their middle.
            while not killed.exists():
                read_at_random(make_cache, video, body, seed, 20, cache_size_bytes=limit)

        processes: list[BaseProcess] = [FORK.Process(target=read, args=(seed,)) for seed in range(8)]
        with Watcher(Path(cache.config.cache_dir)) as watcher:
            for process in processes:
                process.start()

            # when three of them are killed in the middle
            for number, process in enumerate(processes[:3]):
                asked = len(proxied.requests)
                eventually(lambda asked=asked: len(proxied.requests) > asked + 5)  # type: ignore[misc]
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)
                cache.evict(f"{number}MiB")
            killed.touch()
            for process in processes:
                process.join(100)

        # then the others read what is right, and more than the limit was never there
        assert [process.exitcode for process in processes[3:]] == [0] * 5
        assert MIB < watcher.largest <= limit

        # and nothing of the dead is left
        maintain(cache)
        eventually(lambda: not cache.engine.open_index().claims.all())
        assert cache.stats()["current_size"] == sum(path.stat().st_size for path in blocks_on(cache))

    def test_that_are_forked_from_one_that_has_it_open_read_on(
        self, cache: MediaCache, video: str, body: bytes
    ) -> None:
        file = cache.open(video)
        for start in (0, MIB, 2 * MIB, 3 * MIB):
            file.seek(start)
            file.read(1)

        def read() -> None:
            file.seek(14 * MIB)
            assert file.read(9) == body[14 * MIB : 14 * MIB + 9]

        child = FORK.Process(target=read)
        child.start()
        child.join(60)

        assert child.exitcode == 0
        file.seek(16 * MIB)
        assert file.read(9) == body[16 * MIB : 16 * MIB + 9]
        file.close()
