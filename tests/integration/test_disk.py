"""Disks that are full, read-only, broken, or mounted where nobody thought of it."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from forebay.cache import MediaCache
from forebay.cli.main import run as run_command
from forebay.embedded import stop
from forebay.errors import CacheFullError, ForebayError, VolumeError
from forebay.uri import entry_of
from forebay.volume.beneath import Beneath
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.mounts import fill, mount, remount, tmpfs, use_up_inodes
from tests.servers.http_server import HTTPServer

FORK = multiprocessing.get_context("fork")
NOBODY = 65534


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> MakeCache:
    """Makes caches that may fetch from the web server."""

    def make(**settings: object) -> MediaCache:
        return make_cache(allowed_sources=[http_server.endpoint + "/"], **settings)

    return make


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB with 200 inodes, at the cache directory."""
    with tmpfs(tmp_path / "cache", "size=1m,nr_inodes=200") as directory:
        yield directory


def put(server: HTTPServer, count: int, size: int = 1000, prefix: str = "") -> list[str]:
    return [server.put(f"/{prefix}{number}.bin", b"x" * size) for number in range(count)]


def as_user(user: int, function: Callable[[], object]) -> object:
    """What a function returns, or the error that it raises, in a process of another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    here, there = FORK.Pipe()

    def run() -> None:
        os.setgroups([])
        os.setuid(user)
        try:
            there.send(function())
        except ForebayError as error:
            there.send((type(error).__name__, str(error)))
        except BaseException:
            there.send(traceback.format_exc())

    process = FORK.Process(target=run)
    process.start()
    assert here.poll(60)
    told = here.recv()
    process.join(30)
    return told


def reserved(cache: MediaCache) -> int:
    cache.engine.open_session().release_unused()
    return cache.engine.open_index().entries.totals().reserved


class TestFull:
    def test_what_frees_space_needs_none(
        self, web: MakeCache, http_server: HTTPServer, small: Path, forebay: Forebay
    ) -> None:
        # given a cache of another process on a disk without a free byte and without a free inode
        with_files = web()
        uris = put(http_server, 10)
        with_files.download_media(uris)
        with_files.close()
        fill(small)
        use_up_inodes(small)

        # when it is looked at and emptied by commands
        looked = forebay("stats", "--json")
        evicted = forebay("evict", "--to", "5000")
        cleared = forebay("clear", "--all", "--yes")

        # then all of them work
        assert (looked.status, evicted.status, cleared.status) == (0, 0, 0), (looked, evicted, cleared)
        assert looked.json["current_count"] == 10
        assert web().stats()["current_count"] == 0

    @pytest.mark.parametrize("runs", [True, False], ids=["a server that runs", "a server that starts"])
    def test_what_frees_space_needs_none_for_the_embedded_index_either(
        self, make_cache: MakeCache, tmp_path: Path, forebay: Forebay, runs: bool
    ) -> None:
        # given a cache with an embedded index, whose server runs or has ended, on a full disk
        cache_dir = tmp_path / "cache"
        settings = {"redis_url": None, "cache_dir": str(cache_dir)}
        with tmpfs(cache_dir, "size=4m,nr_inodes=200") as directory:
            place = directory / "media" / "s3" / "bucket"
            place.mkdir(parents=True)
            for number in range(10):
                (place / str(number)).write_bytes(b"x" * 1000)
            try:
                indexer = make_cache(redis_url=None)
                assert indexer.engine.open_maintenance().run(force=True)
                indexer.close()
                if not runs:
                    stop(str(cache_dir))
                fill(directory)
                use_up_inodes(directory)

                # when it is looked at and emptied
                looked = forebay("stats", "--json", **settings)
                evicted = forebay("evict", "--to", "5000", **settings)
                cleared = forebay("clear", "--all", "--yes", **settings)

                # then all of that works
                assert (looked.status, evicted.status, cleared.status) == (0, 0, 0), (
                    looked,
                    evicted,
                    cleared,
                )
                assert looked.json["current_count"] == 10
                assert not place.exists()
            finally:
                stop(str(cache_dir))

    def test_inodes_are_made_free_as_bytes_are(
        self, web: MakeCache, http_server: HTTPServer, small: Path
    ) -> None:
        # given more objects than the disk has inodes
        cache = web(max_requests=4)
        uris = put(http_server, 300, size=10)

        # when all are downloaded
        status = cache.download_media(uris).status()

        # then each was, and the latest are there
        assert (status.downloaded, status.failed) == (300, 0), cache.jobs()
        assert 100 < cache.stats()["current_count"] < 200
        assert cache.engine.files.locate(entry_of(uris[-1])) is not None

    def test_advice_names_inodes(self, web: MakeCache, http_server: HTTPServer, small: Path) -> None:
        cache = web()
        cache.stats()
        use_up_inodes(small)

        with pytest.raises(CacheFullError) as caught:
            cache.local_path(put(http_server, 1)[0])

        assert str(caught.value).endswith(
            f"no room for another file on {small}: its disk has hardly any inodes left, and nothing is left "
            "to evict; remove files, or use a file system with more inodes"
        )

    def test_doctor_names_inodes(self, small: Path, forebay: Forebay) -> None:
        forebay("stats")
        use_up_inodes(small)

        done = forebay("doctor")

        assert done.status == 1
        assert "the disk has no inodes left: remove files, or use a file system with more inodes" in done.out

    def test_bytes_that_others_took_are_made_free_again(
        self, web: MakeCache, http_server: HTTPServer, small: Path
    ) -> None:
        # given a process that has reserved what another program then takes
        cache = web(max_requests=4)
        cache.download_media(put(http_server, 20, size=10_000, prefix="old-"))
        fill(small)

        # when it downloads more
        status = cache.download_media(put(http_server, 20, size=10_000, prefix="new-")).status()

        # then it has evicted for that
        assert (status.downloaded, status.failed) == (20, 0)


class TestReadOnly:
    def test_a_hit_needs_no_writing(self, web: MakeCache, http_server: HTTPServer, small: Path) -> None:
        cache = web()
        [uri] = put(http_server, 1)
        cache.local_path(uri)
        remount(small, "ro")

        assert Path(cache.local_path(uri)).stat().st_size == 1000
        assert Path(web().local_path(uri)).stat().st_size == 1000
        assert cache.stats()["current_count"] == 1

    def test_in_the_middle_of_a_job_costs_what_is_missing_only(
        self, web: MakeCache, http_server: HTTPServer, small: Path
    ) -> None:
        # given a cache whose disk becomes read-only
        cache = web()
        uris = put(http_server, 20)
        cache.download_media(uris[:10])
        remount(small, "ro")

        # when more is downloaded
        job = cache.download_media(uris)

        # then what is there is there, what is missing has failed with the reason, and nothing stays reserved
        assert (job.cached, job.failed) == (10, 10)
        assert all("Read-only file system" in failure.reason for failure in job.failures())
        assert reserved(cache) == 0
        assert cache.engine.open_index().claims.all() == {}
        # and all of it can be downloaded once it can be written again
        remount(small, "rw")
        assert cache.download_media(uris).downloaded == 10

    def test_what_is_missing_is_an_error_in_words(
        self, web: MakeCache, http_server: HTTPServer, small: Path
    ) -> None:
        uris = put(http_server, 2)
        web().local_path(uris[0])
        remount(small, "ro")
        cache = web()

        assert cache.stats()["current_count"] == 1
        for change in (lambda: cache.local_path(uris[1]), cache.clear, lambda: cache.evict(0)):
            with pytest.raises(VolumeError, match="is mounted read-only on this machine"):
                change()


class TestBroken:
    @pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EROFS, errno.ESTALE])
    @pytest.mark.parametrize(
        "call", ["open", "pwritev", "rename", "unlink", "utime", "close", "statvfs", "stat"]
    )
    def test_a_call_that_fails_costs_its_sample_only(
        self, web: MakeCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch, call: str, number: int
    ) -> None:
        # given a disk on which one kind of call fails for one file, or for all of them
        cache = web()
        uris = put(http_server, 10)
        directory = cache.config.cache_dir
        cache.stats()
        cache.engine.open_session()
        real = getattr(os, call)

        def failing(first: object, *arguments: object, **options: object) -> object:
            path = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else str(first)
            if path.startswith(directory):
                raise OSError(number, os.strerror(number), path)
            return real(first, *arguments, **options)

        # when objects are downloaded
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            job = cache.download_media(uris)
            assert job.failed + job.downloaded == 10
            assert all(failure.reason for failure in job.failures())

        # then nothing stays reserved or claimed, and the next job downloads what has failed
        assert reserved(cache) == 0
        assert cache.engine.open_index().claims.all() == {}
        assert cache.download_media(uris).status().failed == 0
        assert all(Path(cache.local_path(uri)).stat().st_size == 1000 for uri in uris)


class TestMounts:
    @pytest.mark.parametrize("kind", ["tmpfs", "bind"])
    def test_media_on_a_disk_of_its_own(
        self, web: MakeCache, http_server: HTTPServer, tmp_path: Path, forebay: Forebay, kind: str
    ) -> None:
        # given a disk that is mounted at the media of a cache
        media = tmp_path / "cache" / "media"
        with tmpfs(media, "size=1m"):
            if kind == "bind":
                mount("--bind", str(media), str(media))
            try:
                # when objects are downloaded
                cache = web(cache_size_bytes=50_000)
                uris = put(http_server, 60)
                status = cache.download_media(uris).status()

                # then they are there, within the limit, and nothing else is
                assert (status.downloaded, status.failed) == (60, 0)
                assert cache.stats()["current_size"] <= 50_000
                assert cache.engine.files.temporaries() == []
                cache.engine.open_maintenance().run(force=True)
                assert cache.engine.open_index().entries.totals().unindexed == 0
                assert forebay("doctor").status == 0
                cache.close()
            finally:
                if kind == "bind":
                    os.system(f"umount {media}")

    def test_a_bucket_on_a_disk_of_its_own_is_an_error_in_words(
        self, web: MakeCache, http_server: HTTPServer, tmp_path: Path
    ) -> None:
        [uri] = put(http_server, 1)
        bucket = (tmp_path / "cache" / "media" / entry_of(uri)).parent
        with tmpfs(bucket, "size=1m"):
            cache = web()
            with pytest.raises(ForebayError, match="is on another disk than"):
                cache.local_path(uri)
            assert reserved(cache) == 0


class TestNames:
    def test_a_disk_that_takes_short_names_only(
        self, web: MakeCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a disk that takes names of 143 bytes, as encrypted home directories do
        def limit(call: str) -> None:
            real = getattr(os, call)

            def limited(path: object, *arguments: object, **options: object) -> object:
                for name in [path, *arguments][: 2 if call in ("rename", "replace") else 1]:
                    if isinstance(name, str) and max(map(len, os.fsencode(name).split(b"/"))) > 143:
                        raise OSError(errno.ENAMETOOLONG, "File name too long", name)
                return real(path, *arguments, **options)

            monkeypatch.setattr(os, call, limited)

        for call in ("stat", "open", "rename", "replace", "mkdir", "unlink"):
            limit(call)
        monkeypatch.setattr(os, "pathconf", lambda path, name: 143)
        names = ["a" * 200 + ".jpg", "é" * 100 + ".jpg", "d" * 150 + "/" + "f" * 144, "g" * 143, "h" * 144]

        # when objects with longer names are downloaded
        cache = web()
        uris = [http_server.put("/" + quote(name), name.encode()) for name in names]
        status = cache.download_media(uris).status()

        # then they are there, and can be told from their files
        assert (status.downloaded, status.failed) == (len(names), 0)
        layout = cache.engine.files.layout()
        for uri, name in zip(uris, names, strict=True):
            path = cache.local_path(uri)
            assert Path(path).read_bytes() == name.encode()
            assert layout.entry(path) == entry_of(uri)

    def test_a_directory_that_is_too_long_for_its_files(
        self, make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path
    ) -> None:
        # given a cache directory below which a long key makes a path of more than 4,096 bytes
        deep = tmp_path / "/".join(["d" * 200] * 17)
        cache = make_cache(cache_dir=str(deep), allowed_sources=[http_server.endpoint + "/"])
        short = http_server.put("/a.jpg", b"pixels")
        long = http_server.put("/" + "/".join(["k" * 200] * 4) + ".jpg", b"pixels")

        job = cache.download_media([short, long])

        assert (job.downloaded, job.failed) == (1, 1)
        [failure] = job.failures()
        assert "File name too long" in failure.reason
        with pytest.raises(CacheFullError, match="File name too long"):
            cache.local_path(long)


@pytest.fixture
def open_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that every user may enter, which is home; pytest's own are for its user only."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        monkeypatch.setenv("HOME", directory)
        yield Path(directory)


class TestDirectoriesOfOthers:
    def test_what_cannot_be_entered_is_no_hit(
        self, web: MakeCache, http_server: HTTPServer, open_home: Path
    ) -> None:
        # given a cache whose directory of one server this user may not enter
        cache = web(cache_dir=str(open_home / "cache"))
        [uri, missing] = put(http_server, 2)
        path = cache.local_path(uri)
        place = Path(path).parent
        place.chmod(0o700)

        for asked in (uri, missing):
            told = as_user(
                NOBODY, lambda asked=asked: web(cache_dir=cache.config.cache_dir).local_path(asked)
            )

            assert told == (
                "VolumeError",
                f"{place / Path(asked).name} cannot be read (Permission denied): fix the permissions of its "
                "directories, or run as the user who filled the cache",
            )
        # then the index still has it
        assert cache.stats()["current_count"] == 1

    def test_what_cannot_be_entered_fails_alone(
        self, web: MakeCache, http_server: HTTPServer, open_home: Path
    ) -> None:
        # given a user who may write the cache, but not enter one of its directories
        cache = web(cache_dir=str(open_home / "cache"))
        closed, *others = [http_server.put(f"/{name}/a.bin", b"x" * 1000) for name in ("closed", "b", "c")]
        place = Path(cache.local_path(closed)).parent
        for directory in (place.parents[0], *Path(cache.config.cache_dir).glob("**/")):
            directory.chmod(0o777)
        place.chmod(0o700)

        def download() -> object:
            job = web(cache_dir=cache.config.cache_dir).download_media([closed, *others])
            return job.downloaded, [failure.reason for failure in job.failures()]

        downloaded, reasons = as_user(NOBODY, download)  # type: ignore[misc]

        assert downloaded == 2
        [reason] = reasons
        assert f"{place}/a.bin cannot be read (Permission denied)" in reason
        assert cache.stats()["current_count"] == 3


class TestOddThings:
    def test_among_partial_files_do_not_stop_the_sweep(
        self, web: MakeCache, http_server: HTTPServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        # given a directory and a busy file among the partial files, and a stray of a process that is gone
        cache = web()
        cache.local_path(put(http_server, 1)[0])
        temporary = Path(cache.engine.files.layout().temporary_dir)
        (temporary / "odd").mkdir()
        (temporary / "odd" / "file").touch()
        (temporary / ".nfs00000001").touch()
        stray = temporary / "aaaaaaaaaa-1-1-beef.1"
        stray.touch()
        path = Path(cache.engine.files.layout().media_dir) / "s3" / "bucket" / "a.jpg"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"pixels")

        # when the maintenance runs twice
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                assert cache.engine.open_maintenance().run(force=True)

        # then the stray is removed, the file is indexed, and the log has the directory once
        assert not stray.exists()
        assert cache.stats()["current_count"] == 2
        assert [record.getMessage() for record in caplog.records] == [
            f"{temporary}/odd cannot be removed: Is a directory"
        ]
        assert (temporary / ".nfs00000001").exists()

    def test_a_damaged_file_that_cannot_be_removed_does_not_stop_the_sweep(
        self, web: MakeCache, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a damaged file that cannot be removed, and a file without its entry
        cache = web()
        [uri] = put(http_server, 1)
        damaged = cache.local_path(uri)
        os.truncate(damaged, 5)
        other = Path(cache.engine.files.layout().media_dir) / "s3" / "bucket" / "a.jpg"
        other.parent.mkdir(parents=True)
        other.write_bytes(b"pixels")
        for name in ("unlink", "take_out"):
            monkeypatch.setattr(Beneath, name, refusing(getattr(Beneath, name), damaged))

        # then the sweep comes to its end
        assert cache.engine.open_maintenance().run(force=True)
        assert cache.engine.open_index().state.is_complete()
        assert cache.stats()["current_count"] == 2


def refusing(real: Callable[..., None], damaged: str) -> Callable[..., None]:
    """A call that one file does not admit."""

    def call(beneath: Beneath, path: str, *arguments: str) -> None:
        if path == damaged:
            raise PermissionError(errno.EPERM, "Operation not permitted", path)
        real(beneath, path, *arguments)

    return call


class TestUsersWithoutAHome:
    @pytest.mark.parametrize(
        "command", [["stats"], ["ls"], ["doctor"], ["config"], ["clear", "--all", "--yes"]]
    )
    def test_every_command_works_with_a_directory_of_its_own(
        self, open_home: Path, forebay: Forebay, monkeypatch: pytest.MonkeyPatch, command: list[str]
    ) -> None:
        # given everything imported, as other users may not enter the directory of the environment,
        for name, value in forebay.environment(volume="other", cache_dir=str(open_home / "other")).items():
            monkeypatch.setenv(name, value)
        run_command(command)
        # and a user id without an entry in the password file, and no HOME
        place = open_home / "cache"
        place.mkdir(mode=0o777)
        place.chmod(0o777)
        for name, value in forebay.environment(volume="mine", cache_dir=str(place)).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HOME")

        # then every command works
        assert as_user(54321, lambda: MediaCache().stats() and run_command(command)) == 0

    def test_the_default_directory_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HOME")

        assert as_user(54321, lambda: MediaCache().config.cache_dir) == (
            "ConfigError",
            "setting cache_dir='~/fiftyone/__cache__' is not allowed: this user has no home directory; set "
            "FIFTYONE_MEDIA_CACHE_DIR to a full path",
        )
