"""Jobs that fetch parts of objects, and jobs of objects that are there in part."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.errors import ConfigError
from forebay.fetch.wanted_parts import Parts
from forebay.manifests.manifest import Manifest
from forebay.uri.blocks import BLOCK_BYTES
from forebay_worker.presence import Presence
from forebay_worker.tasks import fetch_message
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.http_server import http_server
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")

MIB = 1 << 20
SIZE = 9 * MIB + 321


@pytest.fixture
def body() -> bytes:
    return random.Random(3).randbytes(SIZE)


@pytest.fixture
def videos(s3_server: S3Server, s3_bucket: str, body: bytes) -> list[str]:
    """Three large objects."""
    return s3_server.put_many(s3_bucket, {f"{n}.mp4": body for n in range(3)})


def asked(proxy: Proxy) -> Counter[int]:
    """How often each block of any object was asked for."""
    headers = [request.range for request in proxy.requests if ".mp4" in request.path]
    assert all(headers), "an object was asked for as a whole"
    return Counter(int(str(header).partition("=")[2].partition("-")[0]) // BLOCK_BYTES for header in headers)


def blocks_on(cache: MediaCache) -> Counter[int]:
    """The numbers of the blocks on a cache's volume."""
    found = [path for path in Path(cache.config.cache_dir, "media").rglob("*%p/*/*") if path.is_file()]
    return Counter(int(path.name) for path in found)


class TestParts:
    def test_are_fetched_and_no_more(
        self, cache: MediaCache, proxied: Proxy, videos: list[str], body: bytes
    ) -> None:
        # when the index at the beginning of some videos, their ends and a place between are fetched
        parts = Parts(head="1MiB", tail=400, ranges=["4MiB-5MiB"])
        status = cache.download_media(videos, parts=parts).status()

        # then nothing else is, and the job counts their bytes
        wanted = Counter({0: 3, 4: 3, 8: 3, 9: 3})
        assert asked(proxied) == blocks_on(cache) == wanted
        assert (status.downloaded, status.failed, status.bytes) == (3, 0, 3 * (3 * MIB + 321))

        # and who reads them waits for nothing
        with cache.open(videos[1]) as file:
            file.seek(4 * MIB)
            assert file.read(100) == body[4 * MIB : 4 * MIB + 100]
        assert asked(proxied) == wanted

    def test_again_ask_for_nothing(self, make_cache: MakeCache, proxied: Proxy, videos: list[str]) -> None:
        make_cache().download_media(videos, parts=Parts(tail="1MiB"))
        before = asked(proxied)

        again = make_cache().create_job([*videos, videos[0]], parts=Parts(tail="1MiB"))

        # It is known before anything is started, or sent to the fleet.
        assert (again.status().state, again.status().cached) == ("done", 4)
        assert asked(proxied) == before

        # More of them is fetched without what is there.
        more = make_cache().download_media(videos[:1], parts=Parts(tail="2MiB")).status()
        assert asked(proxied) - before == Counter({7: 1})
        assert more.bytes == MIB

    def test_of_what_is_small_or_there_are_there(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str, videos: list[str]
    ) -> None:
        small = s3_server.put(s3_bucket, "small.jpg", b"jpeg" * 100)
        empty = s3_server.put(s3_bucket, "empty", b"")
        whole = cache.local_path(videos[0])
        before = len(proxied.requests)

        status = cache.download_media([small, empty, videos[0]], parts=Parts(head="16MiB")).status()

        assert (status.cached, status.downloaded, status.bytes) == (2, 1, 400)
        # Of the empty one the whole as well, as not every server that refuses a range has an empty object.
        assert len(proxied.requests) - before == 3
        assert Path(cache.local_path(small)).read_bytes() == b"jpeg" * 100
        assert os.path.getsize(cache.local_path(empty)) == 0
        assert cache.local_path(videos[0]) == whole
        assert blocks_on(cache) == Counter()

    def test_that_are_all_parts_are_the_file(
        self, cache: MediaCache, proxied: Proxy, videos: list[str], body: bytes
    ) -> None:
        cache.download_media(videos[:1], parts=Parts(head="5MiB", ranges=["3MiB-"]))
        assert blocks_on(cache) == Counter()
        assert Path(cache.local_path(videos[0])).read_bytes() == body
        assert asked(proxied) == Counter(range(10))

    @pytest.mark.parametrize("lack", [{"ranges": False}, {"etag": None}])
    def test_that_a_server_does_not_send_come_with_the_whole(
        self, make_cache: MakeCache, body: bytes, lack: dict[str, object]
    ) -> None:
        with http_server() as server:
            cache = make_cache(allowed_sources=[f"{server.endpoint}/"])
            uri = server.put("/video.mp4", body, **lack)
            status = cache.download_media([uri], parts=Parts(head=10)).status()
            assert (status.downloaded, status.bytes) == (1, SIZE)
            assert Path(cache.local_path(uri)).read_bytes() == body

    def test_that_cannot_be_fetched_fail_alone(self, cache: MediaCache, videos: list[str]) -> None:
        job = cache.download_media([videos[0] + ".no", "s3://", videos[0]], parts=Parts(head=1))
        status = job.status()
        assert (status.downloaded, status.failed) == (1, 2)
        assert any(failure.reason.startswith("no such object") for failure in job.failures())

    def test_are_of_the_new_version_where_an_object_was_replaced(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, videos: list[str]
    ) -> None:
        cache.download_media(videos[:1], parts=Parts(head=1))
        other = bytes(SIZE)
        s3_server.put(s3_bucket, "0.mp4", other)

        cache.download_media(videos[:1], parts=Parts(tail=1))

        with cache.open(videos[0]) as file:
            assert file.read(9) == other[:9]
        assert blocks_on(cache) == Counter({0: 1, 9: 1})

    def test_stay_under_the_lease_of_their_job(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, videos: list[str]
    ) -> None:
        cache = make_cache(cache_size_bytes=6 * MIB)
        others = s3_server.put_many(s3_bucket, {f"{n}.bin": bytes(MIB) for n in range(8)})
        job = cache.download_media(videos[:1], parts=Parts(head=1, tail=1), lease="1h")
        cache.download_media(others)
        assert blocks_on(cache) == Counter({0: 1, 9: 1})
        cache.engine.open_index().leases.end(str(job.status().lease))
        cache.evict("0")
        assert blocks_on(cache) == Counter()

    def test_are_neither_updated_nor_verified(
        self, cache: MediaCache, videos: list[str], tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match="an update compares whole objects"):
            cache.download_media(videos, update=True, parts=Parts(head=1))
        (tmp_path / "list.csv").write_text(f"uri,sum\n{videos[0]},{'0' * 32}\n")
        manifest = Manifest(tmp_path / "list.csv", checksum_column="sum")
        with pytest.raises(ConfigError, match="checksums are of whole objects"):
            cache.download_media(manifest, parts=Parts(head=1))
        with pytest.raises(ConfigError, match=r"expected parts=forebay.Parts\(.*, and this is '0-5'"):
            cache.download_media(videos, parts="0-5")  # type: ignore[arg-type]
        assert (cache.jobs(), cache.leases()) == ([], [])

    def test_are_named_by_the_messages_of_the_fleet(
        self, cache: MediaCache, proxied: Proxy, videos: list[str]
    ) -> None:
        # given a job, of which a worker knows no more than its id and the number of a message
        job = cache.create_job(videos, message_size=3, parts=Parts(ranges=["2MiB-3MiB"]))

        assert fetch_message(cache, Presence(cache), job.id, 0).startswith("3 downloaded (6.0MB)")

        assert asked(proxied) == blocks_on(cache) == Counter({0: 3, 2: 3})
        assert job.status().state == "done"


class TestCommand:
    def test_fetches_parts(
        self, forebay: Forebay, cache: MediaCache, proxied: Proxy, videos: list[str]
    ) -> None:
        prefix = videos[0].rpartition("/")[0] + "/"
        options = ("--head", "1MiB", "--tail", "321", "--range", "3MiB-4MiB", "--range", "6MiB-6.5MiB")
        done = forebay("prefetch", prefix, *options, "--json", "--lease", "1h").json
        assert (done["downloaded"], done["bytes"]) == (3, 3 * (3 * MIB + 321))
        assert blocks_on(cache) == Counter({0: 3, 3: 3, 6: 3, 9: 3})

        again = forebay("prefetch", prefix, *options)
        assert again.out == "3 of 3 samples cached, all already cached\n"
        assert asked(proxied) == Counter({0: 3, 3: 3, 6: 3, 9: 3})

    def test_refuses_what_names_none(self, forebay: Forebay, videos: list[str]) -> None:
        for options in (["--range", "7"], ["--head", "0"], ["--head", "1", "--dry-run"]):
            done = forebay("prefetch", videos[0], *options)
            assert done.status == 2, done.err


class TestJobOfWhole:
    def test_objects_fetches_what_they_lack(
        self, make_cache: MakeCache, proxied: Proxy, videos: list[str], body: bytes
    ) -> None:
        # given two objects that are there in part, one of them by a process that is gone
        make_cache().download_media(videos[:1], parts=Parts(ranges=["2MiB-8MiB"]))
        cache = make_cache()
        with cache.open(videos[1]) as file:
            file.seek(5 * MIB)
            file.read(1)
        assert asked(proxied) == Counter({0: 2, 5: 2, 2: 1, 3: 1, 4: 1, 6: 1, 7: 1})

        # when a job fetches them, as wholes
        status = cache.download_media(videos[:2]).status()

        # then nothing comes twice, and the job counts what came
        assert asked(proxied) == Counter(dict.fromkeys(range(10), 2))
        assert (status.downloaded, status.bytes) == (2, 2 * SIZE - 9 * MIB)
        assert blocks_on(cache) == Counter()
        assert [Path(cache.local_path(uri)).read_bytes() == body for uri in videos[:2]] == [True, True]

    def test_objects_by_a_worker_does_so_too(
        self, cache: MediaCache, proxied: Proxy, videos: list[str], body: bytes
    ) -> None:
        cache.download_media(videos[:1], parts=Parts(head="4MiB"))
        job = cache.create_job(videos[:1])
        assert fetch_message(cache, Presence(cache), job.id, 0) == "1 downloaded (5.0MB)"
        assert asked(proxied) == Counter(range(10))
        assert Path(cache.local_path(videos[0])).read_bytes() == body

    def test_objects_that_were_replaced_fetches_the_new_ones(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, videos: list[str]
    ) -> None:
        cache.download_media(videos[:1], parts=Parts(head="2MiB"))
        other = bytes(SIZE)
        s3_server.put(s3_bucket, "0.mp4", other)
        assert cache.download_media(videos[:1]).status().downloaded == 1
        assert Path(cache.local_path(videos[0])).read_bytes() == other
        assert blocks_on(cache) == Counter()

    def test_objects_that_do_not_fit_beside_their_parts_takes_their_place(
        self, make_cache: MakeCache, videos: list[str], body: bytes
    ) -> None:
        cache = make_cache(cache_size_bytes=12 * MIB)
        cache.download_media(videos[:1], parts=Parts(head="4MiB"))
        assert cache.download_media(videos[:1]).status().downloaded == 1
        assert Path(cache.local_path(videos[0])).read_bytes() == body
        assert cache.stats()["current_size"] <= 12 * MIB
