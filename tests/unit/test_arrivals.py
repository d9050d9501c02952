"""What is there of an object that arrives in ranges, and when others may have the last byte."""

from __future__ import annotations

from threading import Thread

import pytest

from forebay.fetch import arrivals
from forebay.fetch.arrivals import Arrival, Arrivals
from forebay.sources.base import ObjectInfo
from forebay.transport import FileSink

# Ranges of 10 bytes, the last one of 5.
SIZE, PART = 25, 10


def arrival(**written: int) -> Arrival:
    """One of which each range has so many bytes; ``_10=3`` for the range from 10 on."""
    made = Arrival(ObjectInfo("s3://photos/x", SIZE, '"1"'), "path", PART)
    for start, size in written.items():
        made.comes(int(start[1:]), sink(size))
    return made


def sink(written: int) -> FileSink:
    made = FileSink(-1)
    made.written = written
    return made


@pytest.mark.parametrize(
    ("written", "offset", "end", "there"),
    [
        ({"_0": 4}, 0, SIZE, 4),
        ({"_0": 4}, 2, 3, 3),
        # As far as there is no gap.
        ({"_0": 10, "_10": 3, "_20": 5}, 0, SIZE, 13),
        ({"_0": 4, "_10": 3}, 0, SIZE, 4),
        ({"_10": 3}, 10, 20, 13),
        ({"_0": 10, "_10": 10, "_20": 2}, 5, SIZE, 22),
        # The last byte only once all of it is published.
        ({"_0": 10, "_10": 10, "_20": 5}, 0, SIZE, SIZE - 1),
        ({"_20": 5}, 20, SIZE, SIZE - 1),
    ],
)
def test_what_is_there_is_read(written: dict[str, int], offset: int, end: int, there: int) -> None:
    assert arrival(**written).wait(offset, end) == there


@pytest.mark.parametrize("offset", [0, 13, SIZE - 1])
def test_all_of_what_is_published_is_read(offset: int) -> None:
    one = arrival(_0=4)
    one.end(is_complete=True)
    # What comes later changes nothing: a partial file is discarded after it was published, too.
    one.end(is_complete=False)
    assert one.wait(offset, SIZE) == SIZE


@pytest.mark.parametrize("written", [{"_0": 4}, {"_0": 10, "_10": 10, "_20": 5}])
def test_nothing_more_is_read_of_what_has_failed(written: dict[str, int]) -> None:
    one = arrival(**written)
    one.end(is_complete=False)
    assert one.wait(3, SIZE) == 3


def test_a_reader_waits_until_more_arrives_or_nothing_will() -> None:
    one, read = arrival(_0=4), list[int]()
    reader = Thread(target=lambda: read.extend((one.wait(4, 10), one.wait(6, 10))))
    reader.start()
    one.comes(0, sink(6))
    one.end(is_complete=False)
    reader.join(10)
    # It may have seen the end before the bytes.
    assert read in ([6, 6], [4, 6])


def test_a_range_that_is_sent_again_begins_anew() -> None:
    one = arrival(_0=10, _10=8)
    one.comes(10, sink(1))
    assert one.wait(0, SIZE) == 11


class TestAll:
    def test_what_arrives_is_found_until_it_has_failed(self) -> None:
        found, one = Arrivals(), arrival()
        found.begin("x", one)
        assert found.get("x") is one
        found.end("x", one, is_complete=False)
        assert found.get("x") is None

    def test_another_attempt_takes_the_place_of_one_before(self) -> None:
        found, one, other = Arrivals(), arrival(), arrival()
        found.begin("x", one)
        found.begin("x", other)
        found.end("x", one, is_complete=False)
        assert found.get("x") is other

    def test_what_was_published_is_found_until_the_index_has_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found, one = Arrivals(), arrival()
        found.begin("x", one)
        found.end("x", one, is_complete=True)
        assert found.get("x") is one
        assert one.is_being_committed
        monkeypatch.setattr(arrivals, "_COMMIT_SECONDS", 0.0)
        assert found.get("x") is None
        # And is forgotten.
        found.begin("y", arrival())
        assert list(found._found) == ["y"]
