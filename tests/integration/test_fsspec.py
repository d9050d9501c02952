"""The file system of fsspec reads every kind of source, through the cache, from wherever it is used."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

import forebay
from forebay.cache import MediaCache
from forebay.errors import AccessDeniedError, ConfigError, ObjectNotFoundError, SourceError, UriError
from forebay.fsspec import filesystem
from forebay.fsspec.filesystem import ForebayFileSystem
from forebay.parts.block_reader import Blocks
from tests.caches import MakeCache
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

FORK = multiprocessing.get_context("fork")
MIB = 1 << 20
BODY = random.Random(5).randbytes(9 * MIB + 77)
OBJECTS = {
    "day/one.txt": b"one",
    "day/night/two.txt": b"two, longer",
    "day/night/deep/three.csv": b"a,b\n1,2\n",
    "day.txt": b"not in the directory",
}
SERVERS = {
    "s3": ("s3_server", "s3_bucket", "s3_environment"),
    "gs": ("gcs_server", "gcs_bucket", "gcs_environment"),
    "az": ("azurite_server", "azurite_container", "azurite_environment"),
}


@pytest.fixture
def default_cache(
    s3_environment: object, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> MediaCache:
    """What fsspec finds where no cache is named."""
    cache = make_cache()
    monkeypatch.setattr(forebay, "media_cache", cache, raising=False)
    return cache


@pytest.mark.parametrize("scheme", SERVERS)
def test_every_store_is_listed_and_read(
    scheme: str, make_cache: MakeCache, request: pytest.FixtureRequest
) -> None:
    # given objects in a bucket, and one that a console has written to show a directory
    server, bucket, _ = map(request.getfixturevalue, SERVERS[scheme])
    for key, body in {**OBJECTS, "large.bin": BODY, "day/night/": b""}.items():
        server.put(bucket, key, body)
    fs = ForebayFileSystem(cache=make_cache(allowed_sources=[f"{scheme}://"]))
    root = f"{scheme}/{bucket}"

    # then it is a tree
    assert fs.ls(root, detail=False) == [f"{root}/day", f"{root}/day.txt", f"{root}/large.bin"]
    assert fs.ls(f"{root}/day/", detail=False) == [f"{root}/day/night", f"{root}/day/one.txt"]
    assert fs.ls(f"{root}/day.txt", detail=False) == [f"{root}/day.txt"]
    assert f"{scheme}/{bucket}" in fs.ls(scheme, detail=False)
    assert {"s3", "gs", "az"} <= set(fs.ls("", detail=False))
    assert list(fs.walk(f"{root}/day")) == [
        (f"{root}/day", ["night"], ["one.txt"]),
        (f"{root}/day/night", ["deep"], ["two.txt"]),
        (f"{root}/day/night/deep", [], ["three.csv"]),
    ]
    assert fs.find(root) == sorted(f"{root}/{key}" for key in [*OBJECTS, "large.bin"])
    assert fs.find(f"{root}/day", maxdepth=1) == [f"{root}/day/one.txt"]
    assert fs.find(f"{root}/day", maxdepth=2, withdirs=True) == [
        f"{root}/day",
        f"{root}/day/night",
        f"{root}/day/night/deep",
        f"{root}/day/night/two.txt",
        f"{root}/day/one.txt",
    ]
    assert fs.find(f"{root}/day.txt") == [f"{root}/day.txt"]
    assert fs.find(f"{root}/nothing") == []
    assert fs.glob(f"{root}/day/*") == [f"{root}/day/night", f"{root}/day/one.txt"]
    assert fs.glob(f"{root}/**/t*.*") == [f"{root}/day/night/deep/three.csv", f"{root}/day/night/two.txt"]
    assert fs.du(f"{root}/day") == sum(len(OBJECTS[key]) for key in OBJECTS if key.startswith("day/"))

    # and each object tells what it is, before it is cached as after
    fresh = fs.info(f"{root}/day/one.txt")
    assert (fresh["name"], fresh["size"], fresh["type"]) == (f"{root}/day/one.txt", 3, "file")
    assert fresh["ETag"]
    assert fresh["LastModified"] == fs.modified(f"{root}/day/one.txt")
    assert fs.cat(f"{root}/day/one.txt") == b"one"
    assert fs.info(f"{root}/day/one.txt") == fresh
    for path in (root, f"{root}/day"):
        assert fs.info(path) == {"name": path, "size": 0, "type": "directory"}
        assert fs.isdir(path) and fs.exists(path) and not fs.isfile(path)
    assert fs.isfile(f"{root}/day.txt") and not fs.isdir(f"{root}/day.txt")
    assert not fs.exists(f"{root}/nothing") and not fs.exists(f"{scheme}/no-such-bucket-9f/x")

    # and its bytes are there, in part and as a whole
    assert fs.cat_file(f"{root}/large.bin", 5 * MIB, -4 * MIB) == BODY[5 * MIB : -4 * MIB]
    assert fs.cat_file(f"{root}/large.bin", start=-5) == BODY[-5:]
    assert fs.tail(f"{root}/large.bin", 5) == BODY[-5:]
    assert fs.cat_file(f"{root}/large.bin") == BODY
    assert fs.read_text(f"{root}/day/night/two.txt") == "two, longer"
    for name in (f"{root}/nothing", f"{root}/day"):
        with pytest.raises(ObjectNotFoundError):
            fs.cat_file(name)
        with pytest.raises(FileNotFoundError):
            fs.open(name)


def test_a_web_server_has_files_and_no_directories(make_cache: MakeCache, http_server: HTTPServer) -> None:
    http_server.put("/a/b.txt", b"served")
    fs = ForebayFileSystem(cache=make_cache(allowed_sources=[f"{http_server.endpoint}/"]))
    url = f"{http_server.endpoint}/a/b.txt"

    assert fs.cat_file(url) == b"served"
    assert fs.info(url)["size"] == 6
    assert fs.find(url) == [url.replace("://", "/")]
    assert not fs.exists(f"{http_server.endpoint}/a/c.txt")
    assert not fs.isdir(f"{http_server.endpoint}/a")
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{http_server.endpoint}/a")
    # A file system for one scheme is what fsspec makes of forebay::http://.
    one = ForebayFileSystem("http", cache=make_cache(allowed_sources=[f"{http_server.endpoint}/"]))
    assert one.cat_file(url) == b"served"


class TestNames:
    def test_every_way_to_write_a_name_leads_to_the_object(
        self, default_cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put(s3_bucket, "a/b.txt", b"text")
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("in.txt", "inside")
        s3_server.put(s3_bucket, "a.zip", packed.getvalue())

        for name in (
            f"forebay://s3/{s3_bucket}/a/b.txt",
            f"forebay://s3://{s3_bucket}/a/b.txt",
            f"forebay::s3://{s3_bucket}/a/b.txt",
            f"forebay::s3a://{s3_bucket}/a/b.txt",
        ):
            with fsspec.open(name, "rt") as file:
                assert file.read() == "text"
        for name in (
            f"zip://in.txt::forebay::s3://{s3_bucket}/a.zip",
            f"zip://*::forebay://s3/{s3_bucket}/a.zip",
        ):
            [opened] = fsspec.open_files(name)
            with opened as file:
                assert file.read() == b"inside"
        [found] = fsspec.open_files(f"forebay::s3://{s3_bucket}/**/*.txt")
        assert found.full_name == f"forebay://s3/{s3_bucket}/a/b.txt"

    def test_a_file_system_of_one_scheme_takes_buckets_and_uris(
        self, default_cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put(s3_bucket, "a/b.txt", b"text")
        fs = fsspec.filesystem("forebay", target_protocol="s3")

        assert fs.ls(s3_bucket, detail=False) == [f"{s3_bucket}/a"]
        assert fs.glob(f"{s3_bucket}/*/*") == fs.glob(f"s3://{s3_bucket}/*/*") == [f"{s3_bucket}/a/b.txt"]
        assert s3_bucket in fs.ls("", detail=False)
        assert fs.cat(f"{s3_bucket}/a/b.txt") == fs.cat(f"s3://{s3_bucket}/a/b.txt") == b"text"
        assert fs.sign(f"{s3_bucket}/a/b.txt").startswith("http")
        with pytest.raises(UriError, match="is not one of s3://, for which this file system was made"):
            fs.cat("gs://bucket/a")

    def test_a_chain_leaves_the_other_protocols_as_they_are(self) -> None:
        with pytest.raises(ImportError) as raised:
            fsspec.filesystem("s3")
        assert str(raised.value) == (
            "s3:// needs the package s3fs; forebay::s3:// is read through Forebay's cache"
        )

    def test_a_chain_leaves_no_signature_in_what_is_pickled(self, default_cache: MediaCache) -> None:
        fs, path = fsspec.url_to_fs("forebay::https://host/a?sig=secret")

        assert path == "https://host/a?sig=secret"
        assert b"secret" not in pickle.dumps(fs)
        assert "secret" not in fs.to_json()

    def test_what_has_no_effect_is_refused(self) -> None:
        with pytest.raises(ConfigError) as raised:
            fsspec.filesystem("forebay", target_protocol="s3", key="abc", target_options={"anon": True})
        assert str(raised.value) == (
            "the file system 'forebay' has no option 'anon', 'key': what it reads, and with which "
            "credentials, Forebay's settings say: `forebay config` lists them"
        )
        with pytest.raises(
            ConfigError, match="target_protocol is 'ftp', which Forebay cannot fetch; it must be"
        ):
            fsspec.filesystem("forebay", target_protocol="ftp")
        with pytest.raises(
            UriError, match="'bucket/key' names no store that Forebay can fetch from; expected"
        ):
            fsspec.filesystem("forebay").cat_file("bucket/key")

    def test_keys_that_no_path_of_a_disk_could_have(
        self,
        cache: MediaCache,
        gcs_environment: object,
        gcs_server: GCSServer,
        gcs_bucket: str,
        tmp_path: Path,
    ) -> None:
        keys = ["a//b", "a/../c", "x:y", "ü % +#?.txt"]
        for key in keys:
            gcs_server.put(gcs_bucket, key, key.encode())
        fs = ForebayFileSystem("gs", cache=cache)

        assert fs.find(gcs_bucket) == sorted(f"{gcs_bucket}/{key}" for key in keys)
        assert [fs.cat_file(f"{gcs_bucket}/{key}") for key in keys] == [key.encode() for key in keys]
        # Of a name that no path can have, a listing by directories tells nothing, and goes on.
        assert fs.ls(f"{gcs_bucket}/a", detail=False) == [f"{gcs_bucket}/a/.."]
        # And no copy leaves the directory that it is to be put into.
        with pytest.raises(UriError, match="leads out of its directory by"):
            fs.get(f"{gcs_bucket}/a", str(tmp_path / "into" / "a"), recursive=True)
        assert not (tmp_path / "into").exists()
        fs.get(f"{gcs_bucket}/a/../c", str(tmp_path / "into/"))
        assert (tmp_path / "into").read_bytes() == b"a/../c"


class TestTheCache:
    def test_what_is_cached_is_asked_for_no_more(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str, tmp_path: Path
    ) -> None:
        s3_server.put(s3_bucket, "a.txt", b"0123456789")
        fs, path = ForebayFileSystem(cache=cache), f"s3/{s3_bucket}/a.txt"
        fs.cat_file(path)
        asked = len(proxied.requests)

        assert fs.open(path).read() == b"0123456789"
        assert fs.cat(path) == b"0123456789"
        assert fs.cat_file(path, 2, -2) == b"234567"
        assert fs.cat_ranges([path, path], [0, 8], [2, None]) == [b"01", b"89"]
        assert fs.size(path) == 10 and fs.exists(path) and fs.isfile(path)
        fs.get(path, str(tmp_path / "copy.txt"))
        assert (tmp_path / "copy.txt").read_bytes() == b"0123456789"
        into = io.BytesIO()
        fs.get_file(path, into)
        assert into.getvalue() == b"0123456789"

        assert len(proxied.requests) == asked
        # It was read eight times, and looked at.
        counted = cache.engine.counters
        assert (counted.misses, cache.stats()["current_size"]) == (1, 10)
        assert counted.hits >= 6

    def test_ranges_of_a_large_object_fetch_their_blocks_once_and_together(
        self,
        cache: MediaCache,
        proxied: Proxy,
        s3_server: S3Server,
        s3_bucket: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        together: list[list[int]] = []
        fetch = Blocks.fetch
        monkeypatch.setattr(
            Blocks, "fetch", lambda blocks, numbers: (together.append(numbers), fetch(blocks, numbers))
        )
        s3_server.put(s3_bucket, "large.bin", BODY)
        s3_server.put(s3_bucket, "small.bin", b"small")
        fs = ForebayFileSystem(cache=cache)
        large, small, absent = (f"s3/{s3_bucket}/{name}" for name in ("large.bin", "small.bin", "absent"))
        starts = [7 * MIB - 5, 10, 3 * MIB, 1, 0]
        ends = [7 * MIB + 5, 20, 3 * MIB + 1, 3, 9]

        # when ranges are read, two of them of one block, one across two, and one of what is not there
        read = fs.cat_ranges([large, large, large, small, absent], starts, ends)

        # then those bytes came, and the error of the one that failed
        assert read[:3] == [BODY[start:end] for start, end in zip(starts[:3], ends[:3], strict=True)]
        assert read[3] == b"ma"
        assert isinstance(read[4], ObjectNotFoundError)
        gets = [request.range for request in proxied.requests if request.path.endswith("large.bin")]
        assert together == [[3, 6, 7]]
        assert sorted(map(str, gets)) == sorted(
            f"bytes={number * MIB}-{(number + 1) * MIB - 1}" for number in (0, 3, 6, 7)
        )
        # Of either object a first request told what it is, and is a miss; what it brought is a hit.
        counted = cache.engine.counters
        assert (counted.hits, counted.misses) == (2, 6)
        asked = len(proxied.requests)
        assert fs.cat_ranges([large] * 3, starts[:3], ends[:3]) == read[:3]
        assert fs.info(large)["size"] == len(BODY)
        assert len(proxied.requests) == asked
        assert (counted.hits, counted.misses) == (6, 6)
        with pytest.raises(ObjectNotFoundError):
            fs.cat_ranges([absent], 0, 9, on_error="raise")

    def test_what_is_larger_than_the_cache_is_read_within_its_limit(
        self,
        make_cache: MakeCache,
        s3_environment: object,
        s3_server: S3Server,
        s3_bucket: str,
        tmp_path: Path,
    ) -> None:
        s3_server.put(s3_bucket, "large.bin", BODY)
        cache = make_cache(cache_size_bytes=5 * MIB)
        fs, path = ForebayFileSystem(cache=cache), f"s3/{s3_bucket}/large.bin"

        starts = [number * MIB for number in (8, 0, 3, 5, 6, 1)]
        assert fs.cat_ranges([path] * 6, starts, [start + 9 for start in starts]) == [
            BODY[start : start + 9] for start in starts
        ]
        assert fs.cat_file(path, 1) == BODY[1:]
        assert fs.cat_file(path) == BODY
        fs.get(path, str(tmp_path / "copy.bin"))
        assert (tmp_path / "copy.bin").read_bytes() == BODY
        assert 0 < cache.stats()["current_size"] <= 5 * MIB

    def test_the_errors_are_those_that_users_of_fsspec_expect(
        self,
        make_cache: MakeCache,
        s3_environment: object,
        s3_server: S3Server,
        s3_bucket: str,
        monkeypatch: Any,
    ) -> None:
        s3_server.put(s3_bucket, "a", b"a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        fs = ForebayFileSystem(cache=make_cache(allowed_sources=[f"s3://{s3_bucket}/"]))

        for call in (fs.cat_file, fs.info, fs.open, fs.exists, fs.ls):
            with pytest.raises(PermissionError) as raised:
                call(f"s3/{s3_bucket}/a")
            assert isinstance(raised.value, AccessDeniedError)
        with pytest.raises(SourceError, match="allowed_sources"):
            fs.cat_file("s3/another/a")


class TestProcesses:
    def test_it_goes_to_another_process_and_so_does_an_open_file(
        self, default_cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put(s3_bucket, "a.txt", b"0123456789")
        fs = ForebayFileSystem("s3", cache=default_cache)
        opened = fs.open(f"{s3_bucket}/a.txt")
        opened.seek(4)
        remote = fsspec.open(f"forebay::s3://{s3_bucket}/a.txt")

        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(_read, (fs, f"{s3_bucket}/a.txt")) == b"0123456789"
            assert pool.apply(_rest, (opened,)) == b"456789"
        with pickle.loads(pickle.dumps(remote)) as file:
            assert file.read() == b"0123456789"

    def test_a_forked_child_reads_with_what_its_parent_has_used(
        self, cache: MediaCache, s3_environment: object, s3_server: S3Server, s3_bucket: str
    ) -> None:
        paths = [s3_server.put(s3_bucket, name, name.encode()) for name in ("a", "b")]
        fs = ForebayFileSystem(cache=cache)
        assert fs.cat_file(paths[0]) == b"a"

        child = FORK.Process(target=_compare, args=(fs, paths, {f"s3/{s3_bucket}/{n}": n for n in "ab"}))
        child.start()
        child.join(60)
        child.kill()

        assert child.exitcode == 0

    def test_coroutines_wait_without_threads(
        self,
        cache: MediaCache,
        s3_environment: object,
        s3_server: S3Server,
        s3_bucket: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bodies = {f"{number:03}": b"%d" % number for number in range(150)}
        paths = s3_server.put_many(s3_bucket, bodies)
        monkeypatch.setattr(filesystem, "in_thread", None)

        async def read() -> list[bytes]:
            # As zarr does: the file system of an event loop that is not fsspec's.
            fs = ForebayFileSystem(cache=cache, asynchronous=True)
            return await asyncio.gather(*map(fs._cat_file, paths))

        assert asyncio.run(read()) == list(bodies.values())


def _compare(fs: ForebayFileSystem, paths: list[str], expected: dict[str, str]) -> None:
    assert {path: body.decode() for path, body in fs.cat(paths).items()} == expected


def _read(fs: ForebayFileSystem, path: str) -> bytes:
    return bytes(fs.cat_file(path))


def _rest(file: Any) -> bytes:
    with file:
        return bytes(file.read())
