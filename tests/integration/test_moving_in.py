"""A local file moves into the cache, as the copy of the object that was written from it."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import IndexUnavailableError, SourceError
from forebay.fetch.moving import FileState
from forebay.remote import Remote
from forebay.sources.base import ObjectInfo
from forebay.uri import entry_of
from forebay.volume.beneath import Beneath
from tests.caches import MakeCache
from tests.mounts import tmpfs
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey

BODY = b"pixels" * 1000

# A function or a method, before which the process ends.
MOMENTS = (
    "forebay.fetch.partial_file:publish",
    "forebay.volume.session:Session.commit",
    "forebay.fetch.moving:_Move._remove",
)
KILLED = """
import importlib, os, signal, sys
import forebay
from forebay.fetch.moving import FileState
from forebay.remote import Remote

path, uri, moment = sys.argv[1:]
remote = Remote(forebay.media_cache)
with open(path, "rb") as file:
    state, info = FileState.of(path, file), remote.put(uri, file)
module, _, name = moment.partition(":")
holder = importlib.import_module(module)
*classes, name = name.split(".")
for part in classes:
    holder = getattr(holder, part)
setattr(holder, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
remote.move_in(path, state, info)
"""


@pytest.fixture
def cache(make_cache: MakeCache) -> MediaCache:
    return make_cache(cache_size_bytes=100_000)


@pytest.fixture
def uri(s3_bucket: str, s3_environment: dict[str, str]) -> str:
    return f"s3://{s3_bucket}/a.bin"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "local").mkdir()
    path = tmp_path / "local" / "a.bin"
    path.write_bytes(BODY)
    return path


def upload(cache: MediaCache, path: Path, uri: str) -> tuple[FileState, ObjectInfo]:
    """Writes an object from a file, and gives what the move needs to know."""
    with path.open("rb") as opened:
        return FileState.of(str(path), opened), Remote(cache).put(uri, opened)


def assert_cached(cache: MediaCache, uri: str, body: bytes = BODY) -> None:
    """It is a cached file like any other, and nothing else is on the volume."""
    [entry] = cache.engine.open_index().entries.values([entry_of(uri)])
    assert entry is not None
    assert (entry.size, bool(entry.etag)) == (len(body), True)
    totals = cache.engine.open_index().entries.totals()
    assert (totals.published, totals.count) == (len(body), 1)
    assert Path(cache.local_path(uri)).read_bytes() == body
    assert_clean(cache)


def assert_clean(cache: MediaCache) -> None:
    cache.engine.open_session().release_unused()
    assert cache.engine.open_index().claims.all() == {}
    assert cache.engine.open_index().entries.totals().reserved == 0
    assert cache.engine.files.temporaries() == []


def assert_kept(cache: MediaCache, uri: str, path: Path, body: bytes = BODY) -> None:
    """The file is where it was, and the cache has nothing of it."""
    assert path.read_bytes() == body
    assert cache.engine.files.locate(entry_of(uri)) is None
    assert cache.engine.open_index().entries.totals().published == 0
    assert_clean(cache)


def test_it_is_gone_and_its_object_is_cached_without_a_download(
    cache: MediaCache, s3_server: S3Server, uri: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server.proxied() as proxy:
        for name, value in s3_server.environment(proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        node = file.stat().st_ino

        assert Remote(cache).move_in(str(file), *upload(cache, file, uri)) is True

        assert not file.exists()
        assert_cached(cache, uri)
        assert os.stat(cache.local_path(uri)).st_ino == node, "nothing was copied"
        assert cache.download_media([uri], update=True).status().downloaded == 0
        assert proxy.count("GET") == 0


def test_it_can_be_evicted_as_others_can(cache: MediaCache, uri: str, file: Path) -> None:
    Remote(cache).move_in(str(file), *upload(cache, file, uri))

    cache.evict(0)

    assert cache.engine.files.locate(entry_of(uri)) is None
    assert Path(cache.local_path(uri)).read_bytes() == BODY


def test_others_are_evicted_for_it(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, uri: str, file: Path
) -> None:
    # given a cache that is full of something else
    cache = make_cache(cache_size_bytes=len(BODY) + 100)
    other = s3_server.put(s3_bucket, "other.bin", b"a" * 200)
    cache.local_path(other)

    assert Remote(cache).move_in(str(file), *upload(cache, file, uri)) is True

    assert_cached(cache, uri)


def test_its_permissions_are_those_of_cached_files(
    cache: MediaCache, s3_server: S3Server, s3_bucket: str, uri: str, file: Path
) -> None:
    downloaded = cache.local_path(s3_server.put(s3_bucket, "other.bin", b"a"))
    file.chmod(0o600)

    Remote(cache).move_in(str(file), *upload(cache, file, uri))

    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in (downloaded, cache.local_path(uri))}
    assert len(modes) == 1


def test_from_another_file_system_it_is_copied(cache: MediaCache, uri: str, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "other", "size=1m") as directory:
        file = directory / "a.bin"
        file.write_bytes(BODY)

        assert Remote(cache).move_in(str(file), *upload(cache, file, uri)) is True

        assert not file.exists()
    assert_cached(cache, uri)


def test_where_there_are_no_hard_links_it_is_copied(
    cache: MediaCache, uri: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Beneath, "link", refuse)

    assert Remote(cache).move_in(str(file), *upload(cache, file, uri)) is True

    assert not file.exists()
    assert_cached(cache, uri)


def test_a_file_with_another_name_is_copied(cache: MediaCache, uri: str, file: Path) -> None:
    # given a file that can be written to under another name
    os.link(file, file.with_name("other.bin"))

    Remote(cache).move_in(str(file), *upload(cache, file, uri))

    # then that one does not lead into the cache
    assert not file.exists()
    file.with_name("other.bin").write_bytes(b"something else")
    assert_cached(cache, uri)


def test_of_a_link_the_link_is_removed_and_not_what_it_leads_to(
    cache: MediaCache, uri: str, file: Path
) -> None:
    link = file.with_name("link.bin")
    link.symlink_to(file)

    Remote(cache).move_in(str(link), *upload(cache, link, uri))

    assert not link.is_symlink()
    assert file.read_bytes() == BODY
    assert_cached(cache, uri)


class TestNothingIsLost:
    def test_in_a_cache_that_is_too_small(
        self, make_cache: MakeCache, uri: str, file: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = make_cache(cache_size_bytes=1000)

        assert Remote(cache).move_in(str(file), *upload(cache, file, uri)) is False

        assert_kept(cache, uri, file)
        [message] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert message == (
            f"{uri} was written, but is not in the cache: {uri}: it is larger than the whole cache; "
            f"the local file {file} stays"
        )

    def test_in_a_cache_that_is_full_of_leased_files(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, uri: str, file: Path
    ) -> None:
        cache = make_cache(cache_size_bytes=len(BODY) + 100)
        other = s3_server.put(s3_bucket, "other.bin", b"a" * 200)
        cache.local_path(other)

        with cache.lease([other], ttl=60):
            assert Remote(cache).move_in(str(file), *upload(cache, file, uri)) is False

        assert file.read_bytes() == BODY
        assert cache.engine.files.locate(entry_of(uri)) is None
        assert_clean(cache)

    @pytest.mark.parametrize("body", [b"other " * 1000, b"longer" * 1001], ids=["in place", "grown"])
    def test_of_a_file_that_was_changed(self, cache: MediaCache, uri: str, file: Path, body: bytes) -> None:
        given = upload(cache, file, uri)
        with file.open("r+b") as opened:
            opened.write(body)

        with pytest.raises(SourceError, match="the local file was changed after it had been uploaded"):
            Remote(cache).move_in(str(file), *given)

        assert_kept(cache, uri, file, body)

    def test_of_one_that_was_replaced(self, cache: MediaCache, uri: str, file: Path) -> None:
        given = upload(cache, file, uri)
        file.with_name("new").write_bytes(b"other " * 1000)
        os.rename(file.with_name("new"), file)

        with pytest.raises(SourceError, match="the local file was changed"):
            Remote(cache).move_in(str(file), *given)

        assert_kept(cache, uri, file, b"other " * 1000)

    @pytest.mark.parametrize("can_link", [True, False])
    def test_of_one_that_is_changed_while_it_moves(
        self, cache: MediaCache, uri: str, file: Path, can_link: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a program that writes to the file as soon as it is published
        given, body = upload(cache, file, uri), b"other " * 1000

        def change(commit: Callable[..., Any], *arguments: Any) -> Any:
            with file.open("r+b") as opened:
                opened.write(body)
            return commit(*arguments)

        session = cache.engine.open_session()
        commit = session.commit
        monkeypatch.setattr(session, "commit", lambda *arguments: change(commit, *arguments))
        if not can_link:
            monkeypatch.setattr(Beneath, "link", _refuse)

        with pytest.raises(SourceError, match="the local file was changed after it had been uploaded"):
            Remote(cache).move_in(str(file), *given)

        assert_kept(cache, uri, file, body)

    def test_of_one_that_lies_in_the_cache_itself(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, uri: str
    ) -> None:
        # given the cached copy of another object
        other = s3_server.put(s3_bucket, "other.bin", BODY)
        path = Path(cache.local_path(other))

        assert Remote(cache).move_in(str(path), *upload(cache, path, uri)) is False

        assert path.read_bytes() == BODY
        assert Path(cache.local_path(uri)).read_bytes() == BODY
        assert not os.path.samefile(path, cache.local_path(uri))
        assert cache.stats()["current_size"] == 2 * len(BODY)

    def test_when_the_disk_fails(
        self, cache: MediaCache, uri: str, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file.chmod(0o600)
        given = upload(cache, file, uri)
        before = file.stat()

        def fail(*_: object, **__: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr("forebay.fetch.partial_file.publish", fail)
            assert Remote(cache).move_in(str(file), *given) is False

        assert_kept(cache, uri, file)
        after = file.stat()
        assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)

    def test_when_redis_is_lost_before_it_is_published(
        self, cache: MediaCache, uri: str, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = upload(cache, file, uri)

        def fail(*_: object) -> None:
            raise IndexUnavailableError("Redis is gone")

        session = cache.engine.open_session()
        monkeypatch.setattr(session, "commit", fail)

        with pytest.raises(IndexUnavailableError):
            Remote(cache).move_in(str(file), *given)

        # then the file is there, and shares nothing with what the cache may have of it
        assert file.read_bytes() == BODY
        found = cache.engine.files.locate(entry_of(uri))
        assert found is None or not os.path.samefile(file, found)

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_when_the_process_is_killed(
        self, make_cache: MakeCache, uri: str, file: Path, valkey: Valkey, tmp_path: Path, moment: str
    ) -> None:
        # given a process that is killed while it moves a file
        settings = {
            "FIFTYONE_MEDIA_CACHE_DIR": str(tmp_path / "cache"),
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": valkey.url,
            "FIFTYONE_MEDIA_CACHE_SIZE_BYTES": "100000",
        }
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(file), uri, moment],
            check=False,
            env=os.environ | settings,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL

        # then the file is there, and the cache is as good as it was
        assert file.read_bytes() == BODY
        cache = make_cache(cache_size_bytes=100_000)
        cache.engine.open_maintenance().run(force=True)
        assert Path(cache.local_path(uri)).read_bytes() == BODY
        assert cache.engine.open_index().entries.totals().published == len(BODY)
        assert_clean(cache)


def _refuse(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")
