"""Which of many entries are cached: what index and disk say of it, and the marks of their use."""

from __future__ import annotations

import os
import time

import pytest

from forebay.cache import MediaCache
from forebay.errors import IndexUnavailableError
from forebay.index import Entry, StoredFile
from forebay.volume.absent_files import AbsentFiles
from forebay.volume.cached_entries import _open_below, mark, take_cached
from tests.caches import MakeCache
from tests.servers.valkey import Valkey

# So many that Redis is asked beside the look at the files.
MANY = 2500
LONG_AGO = 1e9
VALUE = Entry(1, "", 0).format()


def publish(cache: MediaCache, entries: list[str]) -> None:
    """Puts files, last used and changed long ago, on the volume and into the index."""
    layout = cache.engine.files.layout()
    for entry in entries:
        path = layout.path(entry)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
        os.utime(path, (LONG_AGO, LONG_AGO - 5))
    cache.engine.open_index().entries.adopt(StoredFile(entry, 1, LONG_AGO, VALUE) for entry in entries)


def names(count: int) -> list[str]:
    return [f"s3/photos/{number % 7}/{number:05}.jpg" for number in range(count)]


@pytest.mark.parametrize("count", [3, MANY])
def test_what_is_cached_bears_marks_of_its_use(cache: MediaCache, count: int) -> None:
    # given published entries that were used long ago
    entries = names(count)
    publish(cache, entries)
    index, before = cache.engine.open_index(), time.time()

    # when they are asked for
    assert take_cached(index, cache.engine.files, entries) == [True] * count

    # then file and index have the time of it, in the order of the question, and files keep the source's time
    found = [os.stat(cache.engine.files.layout().path(entry)) for entry in entries]
    assert all(before - 1 <= one.st_atime <= time.time() for one in found)
    assert {one.st_mtime for one in found} == {LONG_AGO - 5}
    used = [at for at in index.entries.access_times(entries) if at is not None]
    assert len(used) == count
    assert min(used) >= before
    assert used == sorted(used)


@pytest.mark.parametrize("count", [0, MANY])
def test_what_index_or_disk_does_not_know_is_not_cached(cache: MediaCache, count: int) -> None:
    # given entries without a file, files without an entry, and a directory where a file should be
    others = names(count)
    known, lost, stray, directory = (f"s3/photos/{n}.jpg" for n in ("known", "lost", "stray", "directory"))
    publish(cache, [*others, known, lost, stray])
    index, layout = cache.engine.open_index(), cache.engine.files.layout()
    os.unlink(layout.path(lost))
    index.entries.forget([(stray, VALUE)])
    os.mkdir(layout.path(directory))
    index.entries.adopt([StoredFile(directory, 1, LONG_AGO, VALUE)])

    # when they are asked for
    asked = [*others, known, lost, stray, directory]
    found = take_cached(index, cache.engine.files, asked)

    # then only what both know is cached
    assert found == [True] * count + [True, False, False, False]


@pytest.mark.parametrize("count", [1, MANY])
def test_a_file_at_its_other_place_is_cached(cache: MediaCache, count: int) -> None:
    # given files that lie elsewhere, as a key is the prefix of another
    entries = [f"s3/photos/a/{number}.jpg" for number in range(count)]
    layout = cache.engine.files.layout()
    for entry in entries:
        path = layout.alternate_path(entry)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"x")
    index = cache.engine.open_index()
    index.entries.adopt(StoredFile(entry, 1, LONG_AGO, VALUE) for entry in entries)

    assert take_cached(index, cache.engine.files, entries) == [True] * count


@pytest.mark.parametrize("count", [20, MANY])
def test_files_at_their_other_places_are_cached_where_their_directories_are_not_there(
    cache: MediaCache, count: int
) -> None:
    # given files at their other places, and nothing at all where they mostly are
    layout, entries = cache.engine.files.layout(), names(count)
    publish(cache, entries)
    for entry in entries:
        path = layout.alternate_path(entry)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.rename(layout.path(entry), path)
    for number in range(7):
        os.rmdir(os.path.dirname(layout.path(f"s3/photos/{number}/x")))

    # when they are asked for, and marked, with others that are not there
    asked = [*entries, "s3/photos/0/none.jpg"]
    found = take_cached(cache.engine.open_index(), cache.engine.files, asked)

    # then each is found
    assert found == mark(cache.engine.files, asked) == [True] * count + [False]


def test_a_directory_behind_a_link_is_not_marked_by_the_names_in_it(cache: MediaCache) -> None:
    # given a directory of a published entry that has been replaced by a link out of the cache
    entries = names(50)
    publish(cache, entries)
    bucket = os.path.join(cache.engine.files.layout().media_dir, "s3", "photos")
    outside = os.path.join(cache.config.cache_dir, "outside")
    os.rename(bucket, outside)
    os.symlink(outside, bucket)

    # when it is opened to mark its files, then it is refused
    with pytest.raises(NotADirectoryError):
        _open_below(cache.engine.files.layout().media_dir, f"{bucket}/0")


def test_what_is_being_evicted_is_not_cached_and_what_is_updated_is(cache: MediaCache) -> None:
    # given entries that an evictor and a download have claimed
    entries = ["s3/photos/a.jpg", "s3/photos/b.jpg", "s3/photos/c.jpg"]
    publish(cache, entries)
    index, session = cache.engine.open_index(), cache.engine.open_session()
    session.claim_to_evict(entries[:1], session.evictor_token())
    session.claim(entries[1:2], always=True)

    assert take_cached(index, cache.engine.files, entries) == [False, True, True]


def test_a_leased_entry_is_marked_in_the_index(cache: MediaCache) -> None:
    entries = ["s3/photos/a.jpg", "s3/photos/b.jpg"]
    publish(cache, entries)
    cache.engine.lease("job", entries[:1], 60.0)
    index, before = cache.engine.open_index(), time.time()

    assert take_cached(index, cache.engine.files, entries) == [True, True]

    assert all(at is not None and at >= before for at in index.entries.access_times(entries))


def test_of_another_machines_volume_the_index_alone_is_asked(cache: MediaCache) -> None:
    entries = names(MANY)
    publish(cache, entries[:-1])

    found = take_cached(cache.engine.open_index(), AbsentFiles("there:/cache", "default"), entries)

    assert found == [True] * (MANY - 1) + [False]


@pytest.mark.parametrize("count", [3, MANY])
def test_without_redis_it_is_an_error(
    make_cache: MakeCache, valkey: Valkey, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    cache = make_cache()
    index = cache.engine.open_index()
    monkeypatch.setattr(index.connection, "_patience", 0.0)
    valkey.stop()

    with pytest.raises(IndexUnavailableError, match="cannot be reached"):
        take_cached(index, cache.engine.files, names(count))
