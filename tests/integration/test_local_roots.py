"""Files below the setting `local_roots` are cached like objects; all other local paths stay as they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ConfigError, ObjectNotFoundError, ObjectTooLargeError, SourceError
from forebay.fetch import local_copy
from forebay.uri import is_local
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("no_roots")


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    directory = tmp_path / "nas"
    directory.mkdir()
    return directory


@pytest.fixture
def cache(make_cache: MakeCache, nas: Path) -> MediaCache:
    return make_cache(local_roots=[str(nas)])


def put(nas: Path, name: str, body: bytes) -> str:
    path = nas / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return str(path)


@pytest.mark.parametrize("size", [0, 1000, 20 << 20])
def test_a_path_becomes_that_of_a_copy(cache: MediaCache, nas: Path, size: int) -> None:
    body = os.urandom(size)
    path = put(nas, "scans/ä b%.bin", body)

    copy = cache.local_path(path)

    assert copy.startswith(f"{cache.config.cache_dir}/media/file/")
    assert Path(copy).read_bytes() == body
    assert (Path(copy).name.endswith(".bin"), cache.stats()["current_size"]) == (True, size)
    # a second time, and as a URL, it is the same copy; the NAS may be away by then
    os.rename(nas, f"{nas}-away")
    assert cache.local_path(Path(path)) == copy
    [found] = cache.contents()
    assert cache.local_path(found.uri) == copy
    with cache.open(path) as file:
        assert file.read() == body


def test_without_the_setting_nothing_changes(make_cache: MakeCache, nas: Path) -> None:
    path = put(nas, "a.bin", b"a")
    cache = make_cache()
    assert (cache.local_path(path), is_local(path)) == (path, True)
    assert cache.download_media([path]).status().cached == 1
    assert cache.stats()["current_size"] == 0


def test_paths_elsewhere_stay_as_they_are(cache: MediaCache, nas: Path, tmp_path: Path) -> None:
    beside = put(tmp_path, "nas-2/a.bin", b"a")
    for path in (beside, f"{nas}/../nas-2/a.bin", "relative/a.bin", str(nas)):
        assert cache.local_path(path) == path
    assert cache.stats()["current_size"] == 0


def test_a_job_of_many_copies_them_and_an_update_sees_what_changed(cache: MediaCache, nas: Path) -> None:
    paths = [put(nas, f"{number}.bin", bytes([number]) * 1000) for number in range(50)]
    status = cache.download_media([*paths, f"file://{paths[0]}", str(nas / "missing.bin")]).status()
    assert (status.downloaded, status.cached, status.failed) == (50, 1, 1)
    Path(paths[7]).write_bytes(b"new")
    status = cache.download_media(paths, update=True).status()
    assert (status.downloaded, status.cached, status.failed) == (1, 49, 0)
    assert Path(cache.local_path(paths[7])).read_bytes() == b"new"
    assert cache.engine.open_index().claims.all() == {}
    assert cache.engine.open_index().entries.totals().reserved == 0


def test_what_cannot_be_read_is_an_error(make_cache: MakeCache, nas: Path, tmp_path: Path) -> None:
    cache = make_cache(local_roots=[str(nas)], cache_size_bytes=10_000)
    secret = put(tmp_path, "secret", b"secret")
    (nas / "link").symlink_to(secret)
    (nas / "way").symlink_to(tmp_path)
    (nas / "directory").mkdir()
    os.mkfifo(nas / "pipe")
    put(nas, "large.bin", b"a" * 20_000)
    for name, kind in (
        ("missing", ObjectNotFoundError),
        ("link", SourceError),
        ("way/secret", SourceError),
        ("directory", SourceError),
        ("pipe", SourceError),
        ("large.bin", ObjectTooLargeError),
    ):
        with pytest.raises(kind):
            cache.local_path(f"{nas}/{name}")
    assert cache.stats()["current_size"] == 0


def test_a_file_that_changes_meanwhile_fails(
    cache: MediaCache, nas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(nas, "a.bin", b"a" * 1000)

    def change(*_: object) -> int:
        Path(path).write_bytes(b"b" * 1001)
        return 1000

    with monkeypatch.context() as patched:
        patched.setattr(local_copy, "copy_bytes", change)
        with pytest.raises(SourceError, match="was changed while it was copied: ask again"):
            cache.local_path(path)
    assert cache.engine.files.temporaries() == []
    assert Path(cache.local_path(path)).read_bytes() == b"b" * 1001


def test_the_limit_holds(make_cache: MakeCache, nas: Path) -> None:
    cache = make_cache(local_roots=[str(nas)], cache_size_bytes=3500)
    paths = [put(nas, f"{number}.bin", os.urandom(1000)) for number in range(10)]
    assert cache.download_media(paths).status().downloaded == 10
    assert cache.stats()["current_size"] <= 3500


@pytest.mark.parametrize(
    ("roots", "words"),
    [(["/"], "must name directories such as /mnt/nas"), ("CACHE", "lies below"), ([5], "valid string")],
)
def test_a_setting_that_is_wrong_is_refused(
    make_cache: MakeCache, tmp_path: Path, roots: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_cache(local_roots=[str(tmp_path)] if roots == "CACHE" else roots)


def test_workers_copy_them(make_cache: MakeCache, nas: Path, forebay: Forebay) -> None:
    paths = [put(nas, f"{number}.bin", bytes([number]) * 1000) for number in range(5)]
    cache = make_cache(local_roots=[str(nas)], dispatch="auto")
    with worker(cache):
        done = forebay("prefetch", *paths, "--json", local_roots=f'["{nas}"]', dispatch="fleet")
        assert (done.json["dispatch"], done.json["downloaded"]) == ("fleet", 5), done.err
    assert [Path(cache.local_path(path)).read_bytes()[0] for path in paths] == [0, 1, 2, 3, 4]
