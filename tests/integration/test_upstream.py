"""A directory that is looked into before the cloud: what is right there is copied, all else is fetched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.fetch import upstream_copy
from forebay.fetch.upstream_copy import copy_bytes
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.servers import Fault
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

MB = 1 << 20


@dataclass
class Nas:
    """A directory of another machine, and the bucket that it has copies of."""

    directory: Path
    server: S3Server
    bucket: str
    proxy: Proxy

    def put(self, key: str, body: bytes, *, as_volume: bool = False) -> str:
        """An object in the bucket, and its copy here."""
        uri = self.server.put(self.bucket, key, body)
        path = self.path(key, as_volume=as_volume)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return uri

    def path(self, key: str, *, as_volume: bool = False) -> Path:
        return self.directory / ("media" if as_volume else "") / "s3" / self.bucket / key

    def sent(self) -> int:
        """Bytes of objects that came from the bucket."""
        return sum(request.sent for request in self.proxy.requests if request.method == "GET")


@pytest.fixture
def nas(tmp_path: Path, s3_server: S3Server, s3_bucket: str, proxied: Proxy) -> Nas:
    directory = tmp_path / "nas"
    directory.mkdir()
    return Nas(directory, s3_server, s3_bucket, proxied)


@pytest.fixture
def cache(make_cache: MakeCache, nas: Nas) -> MediaCache:
    return make_cache(upstream_dir=str(nas.directory), range_size_bytes=MB)


def from_upstream(cache: MediaCache) -> float:
    counts = cache.engine.counters.counts()
    return sum(amount for (name, _), amount in counts.items() if name == "fetched|upstream")


@pytest.mark.parametrize("as_volume", [False, True], ids=["plain", "volume"])
@pytest.mark.parametrize("size", [0, 1000, 3 * MB])
def test_a_file_that_is_right_is_copied(cache: MediaCache, nas: Nas, size: int, as_volume: bool) -> None:
    body = os.urandom(size)
    uri = nas.put("a/b.bin", body, as_volume=as_volume)

    status = cache.download_media([uri]).status()

    # then nothing but a question came from the cloud
    assert (status.downloaded, status.failed, status.bytes) == (1, 0, size)
    assert nas.sent() == 0
    assert Path(cache.local_path(uri)).read_bytes() == body
    assert from_upstream(cache) == size
    # and it is an entry like others, of which an update knows the etag
    index = cache.engine.open_index()
    assert (index.entries.totals().published, index.entries.totals().reserved) == (size, 0)
    assert index.claims.all() == {}
    assert cache.download_media([uri], update=True).status().cached == 1
    assert nas.sent() == 0
    # and nothing was written there
    assert nas.path("a/b.bin", as_volume=as_volume).read_bytes() == body
    assert len([path for path in nas.directory.rglob("*") if path.is_file()]) == 1


def test_the_volume_of_another_cache_is_one(make_cache: MakeCache, nas: Nas, tmp_path: Path) -> None:
    uris = [nas.server.put(nas.bucket, f"{n}/x.bin", bytes([n]) * 1000) for n in range(20)]
    other = make_cache(cache_dir=str(tmp_path / "other"), volume="other")
    other.download_media(uris)
    nas.proxy.reset()

    cache = make_cache(upstream_dir=str(tmp_path / "other"))
    assert cache.download_media(uris).status().downloaded == 20
    assert nas.sent() == 0
    assert [Path(path).read_bytes()[0] for path in cache.get_local_paths(uris)] == list(range(20))


def spoil_size(path: Path) -> None:
    path.write_bytes(b"short")


def spoil_time(path: Path) -> None:
    os.utime(path, (1, 1))


def make_link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [spoil_size, spoil_time, make_link, make_pipe, make_directory, Path.unlink])
def test_a_file_that_is_wrong_costs_one_fetch(
    cache: MediaCache, nas: Nas, spoil: Callable[[Path], object]
) -> None:
    uri = nas.put("a.bin", b"a" * 1000)
    spoil(nas.path("a.bin"))

    status = cache.download_media([uri]).status()

    assert (status.downloaded, status.failed) == (1, 0)
    assert [request.method for request in nas.proxy.requests].count("GET") == 1
    assert nas.sent() == 1000
    assert Path(cache.local_path(uri)).read_bytes() == b"a" * 1000
    assert from_upstream(cache) == 0
    assert cache.engine.open_index().entries.totals().reserved == 0


def vanish(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    os.truncate(path, 500)


def replace(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"x" * 1000)


@pytest.mark.parametrize("change", [vanish, shrink, replace])
def test_a_file_that_changes_when_it_is_about_to_be_copied_is_not_used(
    cache: MediaCache, nas: Nas, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = nas.put("a.bin", b"a" * 1000)
    judge = upstream_copy.UpstreamCopy.judge

    def judged(self: upstream_copy.UpstreamCopy, outcome: object) -> bool:
        change(nas.path("a.bin"))
        return judge(self, outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(upstream_copy.UpstreamCopy, "judge", judged)
    assert cache.download_media([uri]).status().downloaded == 1
    assert Path(cache.local_path(uri)).read_bytes() == b"a" * 1000
    assert (nas.sent(), from_upstream(cache)) == (1000, 0)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), None], ids=["fails", "ends early"])
def test_a_disk_that_fails_within_the_file_costs_one_fetch(
    cache: MediaCache, nas: Nas, error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = nas.put("a.bin", b"a" * 1000)

    def fail(*_: object) -> int:
        if error is not None:
            raise error
        return 999

    monkeypatch.setattr(upstream_copy, "copy_bytes", fail)
    assert cache.download_media([uri]).status().downloaded == 1
    assert Path(cache.local_path(uri)).read_bytes() == b"a" * 1000
    assert cache.engine.files.temporaries() == []
    assert (nas.sent(), from_upstream(cache)) == (1000, 0)


def test_bytes_that_differ_are_noticed_with_checksums(make_cache: MakeCache, nas: Nas) -> None:
    # given a file of the right size, and a newer one, with other bytes
    uri = nas.put("a.bin", b"a" * 1000)
    nas.path("a.bin").write_bytes(b"b" * 1000)
    cache = make_cache(upstream_dir=str(nas.directory), verify_checksums=True)
    job = cache.download_media([uri])
    assert job.failures() == []
    assert job.status().downloaded == 1
    assert Path(cache.local_path(uri)).read_bytes() == b"a" * 1000


def test_the_limit_holds(make_cache: MakeCache, nas: Nas) -> None:
    uris = [nas.put(f"{number}.bin", os.urandom(1000)) for number in range(10)]
    cache = make_cache(upstream_dir=str(nas.directory), cache_size_bytes=3500)
    assert cache.download_media(uris).status().downloaded == 10
    assert cache.stats()["current_size"] <= 3500
    assert nas.sent() == 0


def test_what_the_source_refuses_is_not_handed_out(cache: MediaCache, nas: Nas) -> None:
    uri = nas.put("a.bin", b"a" * 1000)
    nas.proxy.fault(f"/{nas.bucket}/a.bin", Fault.s3(403, "AccessDenied"), method=None, times=9)
    job = cache.download_media([uri])
    assert job.status().failed == 1
    assert cache.engine.files.locate(entry_of(uri)) is None


def test_a_server_that_answers_no_head_is_asked_for_a_byte(
    make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path
) -> None:
    uri = http_server.put("/a/b.bin", b"a" * MB)
    with http_server.proxied() as proxy:
        moved = uri.replace(http_server.endpoint, proxy.endpoint)
        path = tmp_path / "nas" / moved.replace("://", "/")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"a" * MB)
        cache = make_cache(upstream_dir=str(tmp_path / "nas"), allowed_sources=[proxy.endpoint + "/"])
        assert Path(cache.local_path(moved)).read_bytes() == b"a" * MB
        assert sum(request.sent for request in proxy.requests) <= 1
    assert from_upstream(cache) == MB


def test_a_directory_that_is_not_there_is_none(make_cache: MakeCache, nas: Nas, tmp_path: Path) -> None:
    uri = nas.server.put(nas.bucket, "a.bin", b"a")
    cache = make_cache(upstream_dir=str(tmp_path / "not-mounted"))
    assert cache.download_media([uri]).status().downloaded == 1


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[int, int]]:
    (tmp_path / "source").write_bytes(os.urandom(3 * MB + 7))
    source, target = (
        os.open(tmp_path / "source", os.O_RDONLY),
        os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT),
    )
    yield source, target
    os.close(source)
    os.close(target)


@pytest.mark.parametrize("kernel", ["can", "cannot", "says nothing is there"])
@pytest.mark.parametrize("size", [0, 5, 2 * MB, 3 * MB + 7, 9 * MB])
def test_bytes_are_copied_with_and_without_the_kernel(
    files: tuple[int, int], kernel: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    if kernel != "can":
        monkeypatch.setattr(os, "copy_file_range", refuse if kernel == "cannot" else lambda *_: 0)
    copied = copy_bytes(*files, size)
    assert copied == min(size, 3 * MB + 7)
    assert os.pread(files[1], 9 * MB, 0) == os.pread(files[0], copied, 0)


def test_a_copy_ends_when_it_is_not_wanted(files: tuple[int, int]) -> None:
    assert copy_bytes(*files, 3 * MB, lambda: False) == 0
