"""The line that says how a job ended, right for every number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forebay.cli.following import summary
from forebay.jobs.progress import line
from tests.unit.test_progress import STATUS

NONE = replace(STATUS, state="done", total=0, cached=0, downloaded=0, failed=0, pending=0, bytes=0)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ({}, "0 of 0 samples cached"),
        ({"total": 1, "cached": 1}, "1 of 1 sample cached, already cached"),
        ({"total": 3, "cached": 3}, "3 of 3 samples cached, all already cached"),
        ({"total": 3, "cached": 1, "failed": 2}, "1 of 3 samples cached, 1 already cached, 2 failed"),
        ({"total": 1, "failed": 1}, "0 of 1 sample cached, 1 failed"),
        (
            {"total": 1, "pending": 1, "state": "cancelled"},
            "0 of 1 sample cached, cancelled; 1 sample not fetched",
        ),
    ],
)
def test_a_summary_is_right_for_every_number(numbers: dict[str, object], text: str) -> None:
    assert summary(replace(NONE, **numbers)) == text  # type: ignore[arg-type]


def test_a_line_of_progress_is_right_for_one() -> None:
    assert line(replace(NONE, total=1, cached=1)).startswith("job abc: 1/1 sample, ")
