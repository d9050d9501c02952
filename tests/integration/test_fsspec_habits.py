"""What users of fsspec's other file systems do: globs, signed URLs, copies of directories."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import resource
from pathlib import Path
from urllib.parse import quote

import fsspec
import pytest

from forebay.cache import MediaCache
from forebay.errors import ForebayError, ObjectNotFoundError, TransientSourceError, UriError
from forebay.fsspec.filesystem import ForebayFileSystem
from forebay.parts.block_reader import Blocks
from forebay.remote import Remote
from forebay.sources.base import ObjectInfo
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer
from tests.servers.seaweedfs import S3Server

FORK = multiprocessing.get_context("fork")
MIB = 1 << 20


class TestNames:
    def test_a_wildcard_in_the_name_of_a_bucket(
        self, cache: MediaCache, s3_environment: object, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put_many(s3_bucket, {"day/a.txt": b"a", "day/b.txt": b"b", "c.txt": b"c"})
        fs, one = ForebayFileSystem(cache=cache), ForebayFileSystem("s3", cache=cache)
        stem = s3_bucket[:-2]

        assert f"s3/{s3_bucket}" in fs.glob(f"s3/{stem}*")
        assert fs.glob(f"s3/{stem}*/c.*") == [f"s3/{s3_bucket}/c.txt"]
        assert fs.glob(f"s*/{stem}*/day/a*") == [f"s3/{s3_bucket}/day/a.txt"]
        assert one.glob(f"{stem}*/day/*.txt") == [f"{s3_bucket}/day/a.txt", f"{s3_bucket}/day/b.txt"]
        assert f"{s3_bucket}/day" in one.find("", maxdepth=2, withdirs=True)
        assert f"{s3_bucket}/day" not in one.find("", maxdepth=1, withdirs=True)

    def test_what_is_told_of_a_name_that_matches_nothing(
        self, cache: MediaCache, s3_environment: object, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put(s3_bucket, "[x].txt", b"x")

        with pytest.raises(ObjectNotFoundError) as raised:
            ForebayFileSystem(cache=cache).cat(f"s3/{s3_bucket}/[x].txt")

        assert str(raised.value) == (
            f"s3://{s3_bucket}/[x].txt: nothing matches this pattern; cat_file and open take a name as it is"
        )
        with pytest.raises(ObjectNotFoundError, match="/none: no such object or directory"):
            ForebayFileSystem(cache=cache).cat(f"s3/{s3_bucket}/none", recursive=True)

    def test_no_character_of_a_url_is_a_wildcard(
        self, make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path
    ) -> None:
        signed = [http_server.put(f"/a/b.txt?{key}=secret*[1]", b"served") for key in ("sig", "other")]
        fs = ForebayFileSystem(cache=make_cache(allowed_sources=[f"{http_server.endpoint}/"]))
        url = signed[0]

        assert fs.cat(url) == b"served"
        assert list(fs.cat(signed).values()) == [b"served", b"served"]
        assert fs.glob(url) == [fs._strip_protocol(url)]
        assert fs.glob(url.replace("b.txt", "none.txt")) == []
        # A copy has the name that is asked for, and never a signature in its own.
        to = tmp_path / "to"
        fs.get(url, str(to / "copy.txt"))
        fs.get(url, str(to))
        fs.get(url, f"{to}/new/")
        assert sorted(path.name for path in to.rglob("*")) == ["b.txt", "b.txt", "copy.txt", "new"]
        with pytest.raises(ObjectNotFoundError) as raised:
            fs.cat(url.replace("b.txt", "none.txt"))
        assert "secret" not in str(raised.value)

    def test_a_name_that_is_no_utf8_fails_alone(
        self, make_cache: MakeCache, s3_environment: object, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put(s3_bucket, "a", b"abc")
        cache = make_cache(max_attempts=1)
        fs, root = ForebayFileSystem(cache=cache), f"s3/{s3_bucket}"

        for call in (fs.cat_file, fs.info, fs.ls, fs.open):
            with pytest.raises(ForebayError):
                call(f"{root}/b\udcff")
        job = cache.download_media([f"s3://{s3_bucket}/{key}" for key in ("a", "b\udcff")])
        assert (job.total, job.failed) == (2, 1)
        assert fs.cat_ranges([f"{root}/a", f"{root}/b\udcff", "nowhere/a"], 0, 2)[0] == b"ab"

    def test_a_local_file_is_none_of_the_cache(self, cache: MediaCache, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"local")
        fs = ForebayFileSystem(cache=cache)

        for call in (fs.open, fs.info, fs.cat_file, fs.exists):
            with pytest.raises(UriError, match="names no store that Forebay can fetch from"):
                call(f"file://{quote(str(tmp_path / 'a'))}")


class TestCopies:
    def test_a_directory_that_is_empty_is_copied_with_the_others(
        self, cache: MediaCache, s3_environment: object, s3_server: S3Server, s3_bucket: str, tmp_path: Path
    ) -> None:
        for key in ("day/a.txt", "day/empty/", "alone/"):
            s3_server.put(s3_bucket, key, b"")
        fs = ForebayFileSystem(cache=cache)

        fs.get(f"s3/{s3_bucket}/day", str(tmp_path / "to/day"), recursive=True)
        fs.get(f"s3/{s3_bucket}/alone", str(tmp_path / "to/alone"), recursive=True)

        assert sorted(path.name for path in (tmp_path / "to").rglob("*")) == [
            "a.txt",
            "alone",
            "day",
            "empty",
        ]
        with pytest.raises(ObjectNotFoundError):
            fs.get_file(f"s3/{s3_bucket}/none", str(tmp_path / "none"))

    def test_a_name_that_no_file_can_have_is_refused(
        self, cache: MediaCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        listed = [ObjectInfo(f"s3://bucket/a/{name}", 1, None, None) for name in ("b", "c\0d")]
        monkeypatch.setattr(Remote, "list_objects", lambda *_, **__: iter(listed))

        with pytest.raises(UriError, match="is no name that a file can have"):
            ForebayFileSystem(cache=cache).get("s3/bucket/a", str(tmp_path / "to/a"), recursive=True)
        assert not (tmp_path / "to").exists()


def test_a_server_that_is_away_is_not_taken_for_an_absent_object(make_cache: MakeCache) -> None:
    cache = make_cache(allowed_sources=["http://127.0.0.1:1/"], max_attempts=1)
    fs = ForebayFileSystem(cache=cache)

    # Of a zarr array, an absent chunk would be zeros.
    for call in (fs.isfile, fs.isdir, fsspec.FSMap("http/127.0.0.1:1", fs).__contains__):
        with pytest.raises(TransientSourceError):
            call("http/127.0.0.1:1/a")


def test_ranges_in_any_order_fetch_each_block_once_in_a_cache_that_is_too_small(
    make_cache: MakeCache,
    s3_environment: object,
    s3_server: S3Server,
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given an object of ten blocks, in a cache of four, and ranges that go back and forth in it
    body = bytes(range(256)) * (10 * MIB // 256)
    s3_server.put(s3_bucket, "large.bin", body)
    fs = ForebayFileSystem(cache=make_cache(cache_size_bytes=4 * MIB, grace_seconds=0.01))
    fetched: list[int] = []
    fetch = Blocks.fetch
    monkeypatch.setattr(
        Blocks, "fetch", lambda blocks, numbers: (fetched.extend(numbers), fetch(blocks, numbers))
    )
    starts = [number * MIB + offset for offset in range(3) for number in range(1, 10)]

    # when they are read
    read = fs.cat_ranges([f"s3/{s3_bucket}/large.bin"] * len(starts), starts, [start + 9 for start in starts])

    # then each block came once, and each range is in its place
    assert read == [body[start : start + 9] for start in starts]
    assert sorted(fetched) == sorted(set(fetched))


def test_many_files_are_read_by_a_process_that_may_open_few(
    cache: MediaCache, s3_environment: object, s3_server: S3Server, s3_bucket: str
) -> None:
    # given objects in the cache, of which each takes a thread to read
    s3_server.put_many(s3_bucket, {f"{number:03}": b"x" * 150_000 for number in range(100)})
    fs = ForebayFileSystem(cache=cache)
    paths = [f"s3/{s3_bucket}/{number:03}" for number in range(100)]
    assert len(fs.cat(paths)) == 100

    child = FORK.Process(target=_read_with_few_files, args=(fs, paths))
    child.start()
    child.join(60)
    child.kill()

    assert child.exitcode == 0


def _read_with_few_files(fs: ForebayFileSystem, paths: list[str]) -> None:
    fs.cat(paths[0])
    # The lowest limit with 40 numbers of files below it that are free: the parent's files have holes between.
    used = {int(name) for name in os.listdir("/dev/fd")}
    limit = next(itertools.islice((number for number in itertools.count() if number not in used), 40, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    assert {len(body) for body in fs.cat(paths).values()} == {150_000}
    assert {len(body) for body in fs.cat_ranges(paths, 0, None)} == {150_000}
