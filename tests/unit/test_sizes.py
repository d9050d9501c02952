"""Sizes and durations, as people write them and as numbers."""

from __future__ import annotations

import pytest

from forebay.config.sizes import human, in_bytes, in_seconds, parse_duration, parse_size
from forebay.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1048576),
        ("1.5KB", 1536),
        ("0.5KB", 512),
        ("1024.0", 1024),
        ("50GB", 50 * 1024**3),
        ("1.5TiB", 1536 * 1024**3),
        (" 128 mb ", 128 * 1024**2),
        ("8191.999PB", 9223370910954868965),
        ("9007199254740993", 9007199254740993),
        (50, 50),
    ],
)
def test_a_size(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1", "-5GB", "1XB", "1e9", "1,5GB", "50%", "1.5", "1.5B", "9" * 400, True, None, 2.5]
)
def test_no_size(text: object) -> None:
    with pytest.raises(ConfigError, match="is not a size; expected for instance 500MB"):
        parse_size(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ("50GB", 50 * 1024**3),
        ("7", 7),
        ("7.0", 7),
        ("-1", -1),
        (" -1 ", -1),
        (-1, -1),
        (2.5, 2.5),
        (None, None),
    ],
)
def test_sizes_become_numbers_and_other_values_stay_for_their_check(given: object, size: object) -> None:
    assert in_bytes(given) == size


@pytest.mark.parametrize("given", ["many", "1.5", "1.5B", "-1GB", "-2", True, b"5GB"])
def test_what_is_no_size_stays(given: object) -> None:
    assert in_bytes(given) is given


@pytest.mark.parametrize(
    ("given", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("0s", 0.0), ("1.5d", 129600.0), ("24H", 86400.0)]
)
def test_durations_become_numbers(given: str, seconds: float) -> None:
    assert in_seconds(given) == seconds


@pytest.mark.parametrize("given", ["long", "90", "-5s", 5, None, True])
def test_what_has_no_unit_of_time_stays(given: object) -> None:
    assert in_seconds(given) is given


@pytest.mark.parametrize("text", ["0", "0s", "", "week", "1w", "nan", "inf", "9" * 400])
def test_no_duration(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration; expected for instance 90s"):
        parse_duration(text)


def test_a_size_for_people() -> None:
    assert [human(size) for size in (0, 1023, 1536, 50 * 1024**3)] == ["0B", "1023B", "1.5KB", "50.0GB"]
