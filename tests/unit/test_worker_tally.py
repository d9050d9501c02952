"""How a task says how it ended."""

from __future__ import annotations

import pytest

from forebay.errors import ObjectNotFoundError, TransientSourceError
from forebay.fetch.outcome import SampleOutcome
from forebay_worker.tally import SamplesFailedError, Tally


def test_all_is_well() -> None:
    tally = Tally(3)
    tally.add([SampleOutcome(0, "s3://b/0", "downloaded", size=1000), SampleOutcome(1, "s3://b/1", "cached")])
    tally.add([SampleOutcome(2, "s3://b/2", "downloaded", size=1048)])
    assert (tally.ended, tally.left) == (3, 0)
    assert tally.result() == "2 downloaded (2.0KB), 1 cached already"


def test_interrupted() -> None:
    tally = Tally(3)
    tally.add([SampleOutcome(0, "s3://b/0", "cached")])
    assert tally.result() == "1 cached already, 2 requeued"


def test_what_failed_and_why() -> None:
    tally = Tally(3)
    missing = ObjectNotFoundError("s3://b/0", "no such object")
    lost = TransientSourceError("s3://b/1", "connection reset")
    tally.add([SampleOutcome(0, "s3://b/0", "failed", error=missing, attempts=1)])
    tally.add(
        [
            SampleOutcome(1, "s3://b/1", "failed", error=lost, attempts=5),
            SampleOutcome(2, "s3://b/2", "cached"),
        ]
    )
    with pytest.raises(SamplesFailedError) as raised:
        tally.result()
    assert str(raised.value) == (
        "2 of 3 samples failed (1 cached already): no such object: s3://b/0; "
        "connection reset: s3://b/1 (5 attempts)"
    )


def test_of_many_failures_the_first_are_told() -> None:
    tally = Tally(64)
    error = ObjectNotFoundError("s3://b/0", "no such object")
    tally.add([SampleOutcome(n, "s3://b/0", "failed", error=error) for n in range(64)])
    with pytest.raises(SamplesFailedError, match=r"\A64 of 64 samples failed: (.*; ){3}and 61 more\Z"):
        tally.result()
