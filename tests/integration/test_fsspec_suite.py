"""fsspec's own tests of file systems, for what one offers that only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import ReadOnlyError
from forebay.fsspec.filesystem import ForebayFileSystem
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import valkey as running_valkey


@dataclass
class Writer:
    """Writes what the tests of fsspec would write by the file system itself."""

    server: S3Server

    def makedirs(self, path: str) -> None:
        """Buckets have no directories."""

    def touch(self, path: str) -> None:
        self.pipe(path, b"")

    def pipe(self, path: str, value: bytes) -> None:
        bucket, _, key = path.rpartition("s3/")[2].partition("/")
        self.server.put(bucket, key, value)


@pytest.fixture(scope="module")
def kept_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MediaCache]:
    """One cache for all tests, each of which has a bucket of its own."""
    directory = tmp_path_factory.mktemp("kept")
    with running_valkey(directory / "valkey") as server:
        yield MediaCache(
            MediaCacheConfig(cache_dir=str(directory / "cache"), redis_url=server.url, dispatch="local")
        )


class Fixtures(AbstractFixtures):
    """Those of fsspec, without what they write and delete by the file system."""

    @pytest.fixture
    def cache(self, kept_cache: MediaCache) -> Iterator[MediaCache]:
        # Its heartbeat ends with each test; so does its session, for the next one to begin another.
        yield kept_cache
        kept_cache.close()

    @pytest.fixture
    def fs(self, cache: MediaCache, s3_environment: object) -> ForebayFileSystem:
        return ForebayFileSystem(target_protocol="s3", cache=cache)

    @pytest.fixture
    def fs_path(self, fs: ForebayFileSystem, s3_bucket: str) -> str:
        return str(fs._strip_protocol(f"s3://{s3_bucket}/directory"))

    @pytest.fixture
    def writer(self, s3_server: S3Server) -> Writer:
        return Writer(s3_server)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, writer: Writer, fs_join: Callable[..., str], fs_path: str) -> Any:
        return self._bulk_operations_scenario_0(writer, fs_join, fs_path)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, writer: Writer, fs_join: Callable[..., str], fs_path: str) -> Any:
        return self._glob_edge_cases_files(writer, fs_join, fs_path)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(
        self, writer: Writer, fs_join: Callable[..., str], fs_path: str
    ) -> Any:
        return self._dir_and_file_with_same_name_prefix(writer, fs_join, fs_path)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, writer: Writer, fs_join: Callable[..., str], fs_path: str) -> Any:
        return self._10_files_with_hashed_names(writer, fs_join, fs_path)


class TestGet(Fixtures, AbstractGetTests):
    """Every way to copy files and directories out of a bucket."""

    def test_get_directory_recursive(  # type: ignore[override]
        self,
        fs: ForebayFileSystem,
        writer: Writer,
        fs_join: Any,
        fs_path: str,
        local_fs: Any,
        local_join: Any,
        local_target: str,
    ) -> None:
        # The only one that writes without a fixture.
        fs.mkdir, fs.touch = writer.makedirs, writer.touch
        super().test_get_directory_recursive(fs, fs_join, fs_path, local_fs, local_join, local_target)


class TestInPlaceOfThoseThatWrite(Fixtures):
    """The suites for open, pipe, put, copy and move write: each of them meets one and the same error."""

    def test_whatever_writes_is_refused_and_nothing_is_changed(
        self, fs: ForebayFileSystem, fs_path: str, writer: Writer, tmp_path: Path
    ) -> None:
        path, local = f"{fs_path}/file", str(tmp_path / "file")
        writer.pipe(path, b"old")
        Path(local).write_bytes(b"new")
        writes: list[Callable[[], object]] = [
            lambda: fs.open(path, "wb"),
            lambda: fs.open(path, "xb"),
            lambda: fs.open(path, "a"),
            lambda: fs.pipe_file(path, b"new"),
            lambda: fs.pipe({path: b"new"}),
            lambda: fs.write_text(path, "new"),
            lambda: fs.touch(path),
            lambda: fs.put(local, path),
            lambda: fs.put_file(local, path),
            lambda: fs.copy(path, f"{path}.copy"),
            lambda: fs.mv(path, f"{path}.moved"),
            lambda: fs.rm(path),
            lambda: fs.rm(fs_path, recursive=True),
            lambda: fs.mkdir(f"{path}.d"),
            lambda: fs.makedirs(f"{path}.d", exist_ok=True),
            lambda: fs.rmdir(fs_path),
        ]

        for write in writes:
            with pytest.raises(ReadOnlyError) as raised:
                write()
            assert isinstance(raised.value, OSError)
            assert ": the file system 'forebay' only reads: write with a client of the store" in str(
                raised.value
            )

        assert fs.cat(path) == b"old"
        assert fs.find(fs_path) == [path]
