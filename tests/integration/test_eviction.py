"""Eviction: least recently used first, and never what is leased, claimed or was just used."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import CacheFullError
from forebay.fetch.outcome import SampleOutcome
from forebay.uri import entry_of
from forebay.volume.beneath import Beneath
from forebay.volume.leases import end_expired_leases
from tests.caches import MakeCache, maintain
from tests.servers.embedded import eventually
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")


@pytest.fixture
def full(make_cache: MakeCache, s3_server: S3Server, s3_bucket: str) -> tuple[MediaCache, list[str]]:
    """A cache of ten objects that is full, used in the order of their numbers; and 15 objects."""
    uris = s3_server.put_many(s3_bucket, {f"{n:02}.bin": b"x" * 1000 for n in range(15)})
    cache = make_cache(cache_size_bytes=10_000, max_requests=1)
    for uri in uris[:10]:
        cache.local_path(uri)
    return cache, uris


def cached(cache: MediaCache, uris: list[str]) -> list[int]:
    """The numbers of those that lie on the disk."""
    return [n for n, uri in enumerate(uris) if cache.engine.files.locate(entry_of(uri)) is not None]


def test_the_least_recently_used_goes_first(full: tuple[MediaCache, list[str]]) -> None:
    cache, uris = full

    cache.local_path(uris[10])

    # One percent of the limit is freed beyond what is needed.
    assert cached(cache, uris) == [*range(2, 11)]


def test_a_hit_counts_as_a_use_without_a_round_trip(full: tuple[MediaCache, list[str]]) -> None:
    cache, uris = full
    cache.local_path(uris[0])
    cache.engine.files._touched.clear()  # The index is never told; the file itself bears the mark.

    cache.local_path(uris[10])

    assert cached(cache, uris) == [0, *range(3, 11)]


def test_a_hit_of_another_process_that_died_since_counts_too(
    full: tuple[MediaCache, list[str]], make_cache: MakeCache
) -> None:
    cache, uris = full
    reader = os.fork()
    if reader == 0:
        cache.local_path(uris[0])
        os._exit(0)
    os.waitpid(reader, 0)

    cache.local_path(uris[10])

    assert 0 in cached(cache, uris)


def test_directories_that_are_pruned_while_they_are_made_are_made_again(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given an evictor that removes each empty directory in the moment before its first one is made in it
    make, pruned = os.mkdir, []

    def make_in_what_was_pruned(path: str, *arguments: Any, **keywords: Any) -> None:
        above = keywords.get("dir_fd")
        parent = os.path.dirname(path) if above is None else os.readlink(f"/proc/self/fd/{above}")
        if len(pruned) < 20 and parent.rpartition("/")[2] in {"a", "b", "c"} and not os.listdir(parent):
            os.rmdir(parent)
            pruned.append(parent)
        make(path, *arguments, **keywords)

    cache = make_cache()
    uri = s3_server.put(s3_bucket, "a/b/c/d.bin", b"pixels")
    monkeypatch.setattr(os, "mkdir", make_in_what_was_pruned)

    # when an object is downloaded, then it comes to its place
    assert Path(cache.local_path(uri)).read_bytes() == b"pixels"
    assert len(pruned) == 20


def test_what_was_just_used_is_waited_for(make_cache: MakeCache, full: tuple[MediaCache, list[str]]) -> None:
    _, uris = full
    patient = make_cache(cache_size_bytes=10_000, grace_seconds=0.5)
    began = time.time()
    for uri in uris[:10]:
        patient.local_path(uri)

    patient.local_path(uris[10])

    # The oldest had half a second from its last use.
    assert time.time() - began >= 0.5
    assert 0 not in cached(patient, uris)
    assert set(cached(patient, uris)) >= {9, 10}


def test_a_lease_keeps_entries_until_it_ends_or_expires(full: tuple[MediaCache, list[str]]) -> None:
    cache, uris = full
    lease = cache.lease(uris[:2], ttl=60)
    short = cache.lease(uris[1:3], ttl=60)

    cache.download_media(uris[10:12])
    assert set(cached(cache, uris)) >= {0, 1, 2, 10, 11}

    lease.end()
    cache.download_media(uris[12:14])
    assert set(cached(cache, uris)) >= {1, 2, 12, 13}
    assert 0 not in cached(cache, uris)

    # An expired lease is ended by the maintenance.
    short.renew(0.001)
    eventually(lambda: end_expired_leases(cache.engine.open_index()) == 1)
    cache.download_media(uris[:9])
    assert 1 in cached(cache, uris)
    assert cache.engine.open_index().entries.totals().leased == 0


def test_a_lease_keeps_what_is_cached_only_later(
    full: tuple[MediaCache, list[str]],
) -> None:
    cache, uris = full
    with cache.lease(uris[10:12], ttl=60):
        cache.download_media(uris[10:12])
        cache.download_media(uris[:9])
        cache.download_media(uris[9:10])

        assert set(cached(cache, uris)) >= {10, 11}
        assert cache.engine.open_index().entries.totals().leased == 2000


def test_a_request_waits_for_downloads_under_way(
    make_cache: MakeCache,
    s3_proxy: Proxy,
    s3_server: S3Server,
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given another process that has reserved the whole cache for a download,
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    uri = s3_server.put(s3_bucket, "a.bin", b"y" * 9000)
    busy = make_cache(cache_size_bytes=10_000).engine.open_session()
    reservation = busy.reservation(f"{busy.id}.1")
    assert reservation.grow(9000) is None

    # when an object needs the room,
    cache = make_cache(cache_size_bytes=10_000)
    request = threading.Thread(target=cache.local_path, args=(uri,))
    request.start()
    eventually(lambda: s3_proxy.count("GET") == 1)
    assert request.is_alive()

    # then it waits, and gets it when the other gives up.
    reservation.close()
    busy.release_unused()
    request.join()
    assert cached(cache, [uri]) == [0]


def test_a_fetch_that_is_cancelled_waits_for_no_room(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
) -> None:
    # Given another process that has reserved the whole cache,
    uris = s3_server.put_many(s3_bucket, {f"{n}.bin": b"y" * 9000 for n in range(2)})
    busy = make_cache(cache_size_bytes=10_000).engine.open_session()
    reservation = busy.reservation(f"{busy.id}.1")
    assert reservation.grow(9000) is None

    # and a fetch whose downloads have begun, and wait for room,
    cache = make_cache(cache_size_bytes=10_000)
    has_begun, is_cancelled = threading.Event(), threading.Event()
    outcomes: list[SampleOutcome] = []
    fetch = threading.Thread(
        target=cache.engine.open_fetcher().fetch,
        args=(enumerate(uris), outcomes.extend),
        kwargs={"begun": has_begun.set, "cancelled": is_cancelled.is_set},
    )
    fetch.start()
    assert has_begun.wait(30)

    # when it is cancelled, then it ends while the other goes on, and has nothing to report.
    is_cancelled.set()
    fetch.join(30)
    assert not fetch.is_alive()
    assert outcomes == []
    assert reservation.size == 9000


def test_evict_frees_what_it_is_asked_for_oldest_first(full: tuple[MediaCache, list[str]]) -> None:
    cache, uris = full

    done = cache.engine.open_evictor().evict(2500)

    assert done.freed == 3000
    assert [entry.rsplit("/", 1)[1] for entry in done.entries] == ["00.bin", "01.bin", "02.bin"]
    assert cached(cache, uris) == [*range(3, 10)]


def unremovable(monkeypatch: pytest.MonkeyPatch, cache: MediaCache, uris: list[str]) -> None:
    """Has the system refuse to remove the files of these, as those of another user."""
    paths = {cache.engine.files.layout().path(entry_of(uri)) for uri in uris}

    def refuse(name: str) -> None:
        real = getattr(Beneath, name)

        def refusing(beneath: Beneath, path: str, *arguments: str) -> None:
            if path in paths:
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
            real(beneath, path, *arguments)

        monkeypatch.setattr(Beneath, name, refusing)

    refuse("unlink")
    refuse("take_out")


def test_what_cannot_be_removed_does_not_keep_the_others(
    full: tuple[MediaCache, list[str]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # given two files that are the first to be evicted, and that cannot be removed
    cache, uris = full
    unremovable(monkeypatch, cache, uris[:2])

    # when more is downloaded than is free, again and again
    for uri in uris[10:15]:
        cache.local_path(uri)

    # then the others are evicted in their order, and the log has each of the two once
    assert cached(cache, uris) == [0, 1, *range(8, 15)]
    paths = [cache.engine.files.locate(entry_of(uri)) for uri in uris[:2]]
    told = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert told == [f"{path} cannot be evicted: Operation not permitted" for path in paths]


def test_where_nothing_can_be_removed_a_request_fails_at_once(
    make_cache: MakeCache, full: tuple[MediaCache, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, uris = full
    cache = make_cache(cache_size_bytes=10_000, grace_seconds=0.05)
    unremovable(monkeypatch, cache, uris[:10])

    with pytest.raises(CacheFullError, match="nothing can be evicted"):
        cache.local_path(uris[10])

    assert cached(cache, uris) == [*range(10)]


def test_what_can_be_removed_again_is_evicted_in_its_turn(
    full: tuple[MediaCache, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, uris = full
    with monkeypatch.context() as patch:
        unremovable(patch, cache, uris[:2])
        cache.local_path(uris[10])

    cache.evict(0)

    assert cached(cache, uris) == []
    assert cache.engine.open_index().claims.all() == {}


def test_only_one_evicts_at_a_time(full: tuple[MediaCache, list[str]], make_cache: MakeCache) -> None:
    cache, _ = full
    cache.engine.open_index().locks.take(cache.engine.open_index().keys.evictor, "somebody", 5.0)

    assert make_cache().engine.open_evictor().evict(1000).locked


def test_nothing_but_copies_of_remote_objects_is_removed(full: tuple[MediaCache, list[str]]) -> None:
    cache, uris = full
    notes = Path(cache.engine.files.layout().media_dir) / "notes.txt"
    notes.write_text("mine")
    beside = Path(cache.config.cache_dir) / "beside.txt"
    beside.write_text("mine, too")
    maintain(cache)
    cache.download_media(uris)
    cache.clear(force=True)

    assert notes.read_text() == "mine"
    assert beside.read_text() == "mine, too"
    # What is not ours still takes room.
    assert cache.engine.open_index().entries.totals().unindexed == 4


def test_a_removal_leaves_no_directory_open(full: tuple[MediaCache, list[str]]) -> None:
    cache, _ = full
    open_before = len(os.listdir("/proc/self/fd"))

    with cache.engine.files.beneath.visiting():
        for number in range(200):
            with contextlib.suppress(OSError):
                cache.engine.files.beneath.status(f"{cache.config.cache_dir}/media/{number}/a")
        for number in range(100):
            (Path(cache.config.cache_dir) / "media" / f"d{number}").mkdir()
            cache.engine.files.beneath.is_file(f"{cache.config.cache_dir}/media/d{number}/a")
        # no more than a few at a time
        assert len(os.listdir("/proc/self/fd")) <= open_before + 64
    cache.evict(0)

    assert len(os.listdir("/proc/self/fd")) <= open_before


def test_a_file_at_the_other_place_of_an_entry_goes_too(full: tuple[MediaCache, list[str]]) -> None:
    cache, uris = full
    layout, entry = cache.engine.files.layout(), entry_of(uris[0])
    other = Path(layout.alternate_path(entry))
    other.parent.mkdir(parents=True)
    other.write_bytes(b"x" * 1000)

    cache.clear(uris[:1])

    assert not other.exists()
    assert not Path(layout.path(entry)).exists()
