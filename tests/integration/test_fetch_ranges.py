"""Large objects in ranges: every range is tried again by itself, and all are of one version."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from forebay.errors import AccessDeniedError, ForebayError
from forebay.fetch.outcome import SampleOutcome
from forebay.fetch.partial_file import PartialFile
from forebay.sources.http import HTTPSource
from tests.caches import MakeCache
from tests.servers.scripted import Answer, scripted

MIB = 1 << 20
SIZE = 32 * MIB
A, B = b"A" * SIZE, b"B" * SIZE


def test_ranges_that_fail_at_the_same_time_are_all_tried_again(make_cache: MakeCache) -> None:
    # Given a server that refuses each range of an object once
    tried, lock = set[tuple[int, int] | None](), threading.Lock()

    def get(answer: Answer) -> None:
        with lock:
            is_refused = answer.span is not None and answer.span not in tried
            tried.add(answer.span)
        if is_refused:
            answer.send(500)
        else:
            answer.send_range(A, ETag='"v"')

    with scripted(get) as url:
        cache = make_cache(allowed_sources=[url])
        for number in range(3):
            tried.clear()
            assert Path(cache.local_path(f"{url}{number}.bin")).read_bytes() == A


@pytest.mark.parametrize(
    "etags", [('"a"', '"b"'), ('W/"a"', 'W/"b"')], ids=["ignores If-Match", "weak etags"]
)
def test_a_file_is_of_one_version(make_cache: MakeCache, etags: tuple[str, str]) -> None:
    # Given an object that is replaced after the first of its ranges was sent, by a server that does not
    # compare etags
    sent, lock = [0], threading.Lock()

    def get(answer: Answer) -> None:
        with lock:
            sent[0] += 1
            is_new = sent[0] > 3
        answer.send_range(B if is_new else A, ETag=etags[is_new])

    with scripted(get) as url:
        found = Path(make_cache(allowed_sources=[url]).local_path(f"{url}x.bin")).read_bytes()

    assert found in (A, B)


@pytest.fixture
def expiring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that expire after the first range was asked for: the first one and no other can be."""
    original, asked = HTTPSource.request, [0]

    def request(self, uri, *, span=None, **options):
        if span is not None:
            asked[0] += 1
            if asked[0] > 1:
                raise AccessDeniedError(uri.redacted, "the credentials have expired")
        return original(self, uri, span=span, **options)

    monkeypatch.setattr(HTTPSource, "request", request)


@pytest.mark.usefixtures("expiring")
def test_no_range_is_written_into_a_file_that_got_the_number_of_the_closed_one(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given an object of which one range is on its way when the next cannot be asked for,
    # and another file that gets the descriptor of the partial one
    others = []
    close = PartialFile._close

    def close_and_open_another(self: PartialFile) -> None:
        close(self)
        others.append((tmp_path / f"other{len(others)}").open("wb", buffering=0))

    monkeypatch.setattr(PartialFile, "_close", close_and_open_another)
    with scripted(lambda answer: answer.send_range(A, ETag='"v"')) as url:
        cache = make_cache(allowed_sources=[url])
        with pytest.raises(AccessDeniedError):
            cache.local_path(f"{url}x.bin")
        assert len(others) == 1

        # When everything has ended, then that file is as empty as it was.
        cache.close()
    assert os.fstat(others[0].fileno()).st_size == 0
    others[0].close()


def test_a_range_that_cannot_be_asked_for_again_costs_its_own_sample_only(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given credentials that expire before a range is asked for again,
    original, asked = HTTPSource.request, set()

    def request(self, uri, *, span=None, **options):
        if span is not None and span in asked:
            raise AccessDeniedError(uri.redacted, "the credentials have expired")
        asked.add(span)
        return original(self, uri, span=span, **options)

    monkeypatch.setattr(HTTPSource, "request", request)

    # a large object whose first range is refused for now, and small ones
    def get(answer: Answer) -> None:
        if answer.path.startswith("/small"):
            answer.send(200, b"small")
        elif answer.span is not None and answer.span[0] == 0:
            answer.send(500)
        else:
            answer.send_range(A, ETag='"v"')

    outcomes: list[SampleOutcome] = []
    with scripted(get) as url:
        cache = make_cache(allowed_sources=[url])
        uris = [f"{url}large", *(f"{url}small{number}" for number in range(20))]
        cache.engine.open_fetcher().fetch(enumerate(uris), outcomes.extend)

    states = {outcome.number: outcome.state for outcome in outcomes}
    assert states == {0: "failed", **dict.fromkeys(range(1, 21), "downloaded")}
    [error] = [outcome.error for outcome in outcomes if outcome.error is not None]
    assert isinstance(error, ForebayError)
    assert "the credentials have expired" in str(error)
