"""A volume on which each file waits for a server, as on NFS: what is in flight goes on meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.fetch import file_work
from forebay.fetch.outcome import SampleOutcome
from forebay.volume.files import Files
from tests.caches import MakeCache
from tests.servers.scripted import Answer, scripted

TOGETHER = 12


@pytest.fixture
def url() -> Iterator[str]:
    def get(answer: Answer) -> None:
        answer.send(200, answer.path.encode())

    with scripted(get) as url:
        yield url


@pytest.fixture(autouse=True)
def every_file_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_work, "SLOW_SECONDS", 0.0)


def test_files_wait_together(
    make_cache: MakeCache, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two threads that move bytes, and a volume that has been found to be slow
    cache = make_cache(allowed_sources=[url], num_workers=2)
    cache.download_media([f"{url}first"])

    # when the answer to the renaming of each comes only when many are waiting for theirs
    rename, waiting = Files.put_in_place, threading.Barrier(TOGETHER)

    def slow_rename(files: Files, temporary: str, place: str) -> None:
        rename(files, temporary, place)
        waiting.wait(30)

    monkeypatch.setattr(Files, "put_in_place", slow_rename)
    uris = [f"{url}many/{number}" for number in range(TOGETHER * 4)]
    job = cache.download_media(uris)

    # then all do, because the threads that move bytes go on
    assert job.downloaded == len(uris)
    assert [Path(cache.local_path(uri)).read_text() for uri in uris] == [
        f"/many/{n}" for n in range(len(uris))
    ]
    assert not list((tmp_path / "cache" / ".forebay" / "tmp").iterdir())


def test_a_file_that_cannot_get_its_name_costs_its_own_sample(
    make_cache: MakeCache, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(allowed_sources=[url])
    cache.download_media([f"{url}first"])
    rename = Files.put_in_place

    def broken_rename(files: Files, temporary: str, place: str) -> None:
        if place.endswith("/bad"):
            raise OSError(5, "Input/output error")
        rename(files, temporary, place)

    monkeypatch.setattr(Files, "put_in_place", broken_rename)
    job = cache.download_media([f"{url}good", f"{url}bad", f"{url}better"])

    assert (job.downloaded, job.failed) == (2, 1)
    assert "Input/output error" in job.failures()[0].reason
    assert not list((tmp_path / "cache" / ".forebay" / "tmp").iterdir())
    assert cache.engine._open().index.entries.totals().reserved == 0


def test_a_fetch_that_is_cancelled_waits_for_the_file_that_is_being_completed(
    make_cache: MakeCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a fetch whose file is waiting for its name
    cache, is_cancelled = make_cache(allowed_sources=[url]), threading.Event()
    cache.download_media([f"{url}first"])
    rename, waits, go = Files.put_in_place, threading.Event(), threading.Event()

    def slow_rename(files: Files, temporary: str, place: str) -> None:
        waits.set()
        go.wait(30)
        rename(files, temporary, place)

    monkeypatch.setattr(Files, "put_in_place", slow_rename)
    outcomes: list[SampleOutcome] = []
    fetch = cache.engine.open_fetcher().fetch
    thread = threading.Thread(
        target=fetch, args=([(0, f"{url}a")], outcomes.extend), kwargs={"cancelled": is_cancelled.is_set}
    )
    thread.start()
    assert waits.wait(30)

    # when it is cancelled before the file has it
    is_cancelled.set()
    go.set()
    thread.join(30)

    # then what was downloaded is cached
    assert [outcome.state for outcome in outcomes] == ["downloaded"]
    assert Path(cache.local_path(f"{url}a")).read_text() == "/a"
