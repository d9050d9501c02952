"""When standing prefetches are due, and what of them can be written down."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from forebay.errors import ConfigError, ForebayError
from forebay.schedules import recurrence
from forebay.schedules.definition import Definition, ScheduledRun, check_name, targets_of, texts_of


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("due", "now", "following"),
    [
        (1000.0, 1000.5, 4600.0),
        (1000.0, 4599.0, 4600.0),
        (1000.0, 4600.0, 8200.0),
        (1000.0, 40_000.0, 40_600.0),
    ],
)
def test_missed_times_are_passed_over_and_the_rhythm_stays(due: float, now: float, following: float) -> None:
    assert recurrence.next_time(3600.0, None, "UTC", due, now) == following


@pytest.mark.parametrize(
    ("cron", "zone", "now", "following"),
    [
        ("0 3 * * *", "UTC", at("2026-11-30 02:59"), "2026-11-30 03:00"),
        ("0 3 * * *", "UTC", at("2026-11-30 03:00"), "2026-12-01 03:00"),
        ("0 3 * * *", "Europe/Berlin", at("2026-11-30 01:00"), "2026-11-30 02:00"),
        ("0 3 * * *", "Europe/Berlin", at("2026-07-01 00:30"), "2026-07-01 01:00"),
        ("*/15 8-18 * * 1-5", "UTC", at("2026-11-27 18:50"), "2026-11-30 08:00"),
        ("30 4 1 * *", "UTC", at("2026-11-30 10:00"), "2026-12-01 04:30"),
        ("0 0 29 2 *", "UTC", at("2026-11-30 10:00"), "2028-02-29 00:00"),
    ],
)
def test_the_next_time_of_a_cron_expression(cron: str, zone: str, now: float, following: str) -> None:
    assert shown(recurrence.next_time(None, cron, zone, 0.0, now)) == following


SUMMER_ENDS = at("2026-10-25 01:00")  # in Berlin, from 03:00 to 02:00
SUMMER_BEGINS = at("2027-03-28 01:00")  # from 02:00 to 03:00


def times(cron: str, start: float, count: int, zone: str = "Europe/Berlin") -> list[float]:
    """The next times of an expression, in minutes from the start."""
    found = [start]
    for _ in range(count):
        found.append(recurrence.next_time(None, cron, zone, 0.0, found[-1]))
    return [(one - start) / 60 for one in found[1:]]


@pytest.mark.parametrize(
    ("cron", "minutes"),
    [
        ("15 * * * *", [15, 75, 135, 195, 255]),
        ("*/20 * * * *", [20, 40, 60, 80, 100]),
        ("* * * * *", [1, 2, 3, 4, 5]),
        # It has named its hour, which comes twice, so that it runs once.
        ("30 2 * * *", [90, 90 + 25 * 60, 90 + 49 * 60, 90 + 73 * 60, 90 + 97 * 60]),
    ],
)
def test_when_summer_time_ends(cron: str, minutes: list[float]) -> None:
    assert times(cron, SUMMER_ENDS - 7200, 5) == minutes


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("cron", ["15 * * * *", "*/20 * * * *", "* * * * *", "30 2 * * *", "0 0 * * 0"])
def test_a_time_never_comes_before_now_whatever_the_clock_does(cron: str, zone: str) -> None:
    for day in (
        at("2026-10-25 00:00"),
        at("2026-11-01 00:00"),
        at("2027-03-14 00:00"),
        at("2027-04-03 12:00"),
    ):
        for minute in range(0, 1440, 7):
            now = day + minute * 60
            assert now < recurrence.next_time(None, cron, zone, 0.0, now) <= now + 8 * 86400


@pytest.mark.parametrize(
    ("cron", "minutes"),
    [
        ("15 * * * *", [15, 75, 135]),
        ("*/20 * * * *", [20, 40, 60]),
        # There is no half past two that day.
        ("30 2 * * *", [90, 60 + 23 * 60 + 30, 60 + 47 * 60 + 30]),
    ],
)
def test_when_summer_time_begins(cron: str, minutes: list[float]) -> None:
    assert times(cron, SUMMER_BEGINS - 3600, 3) == minutes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "a schedule needs either --every"),
        ({"every": "1h", "cron": "0 3 * * *"}, "a schedule needs either --every"),
        ({"every": "often"}, "'often' is not a duration"),
        ({"every": 0.5}, "0.5 is too short for a schedule: at least 1s"),
        (
            {"cron": "0 3 * *"},
            "'0 3 * *' is no cron expression, or none whose time ever comes: expected minute, hour, day",
        ),
        ({"cron": "61 3 * * *"}, "is no cron expression"),
        ({"cron": "0 0 30 2 *"}, "is no cron expression"),
        ({"cron": "0 3 * * *", "zone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone"),
        ({"cron": "0 3 * * *", "zone": "../etc/passwd"}, "is no time zone"),
        ({"every": "1h", "lease": "long"}, "'long' is not a duration"),
        ({"every": "200000000000d"}, "is not a duration"),
        ({"every": float("inf")}, "inf is not a duration"),
        ({"every": True}, "True is not a duration"),
        ({"cron": "0 3 * * *", "zone": None}, "None is no time zone"),
        ({"cron": 5}, "5 is no cron expression"),
        ({"every": "1h", "column": 5}, "column=5 must be text"),
        ({"every": "1h", "root": 7}, "root=7 must be text"),
        ({"every": "1h", "kind": "nonsense"}, "'nonsense' is no kind of manifest"),
        ({"every": "1h", "targets": ()}, "a schedule needs something to fetch"),
        ({"every": "1h", "targets": ("-",)}, "'-' can be read by this process only"),
        ({"every": "1h", "targets": ("@list.csv",)}, "'@list.csv' can be read by this process only"),
        ({"every": "1h", "targets": ("/data/a.jpg",)}, "'/data/a.jpg' is a local path"),
        ({"every": "1h", "targets": ("ftp://b/a",)}, "scheme 'ftp'"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ForebayError) as caught:
        Definition(**({"targets": ("s3://b/",)} | arguments)).checked()
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a" * 64, "a\n", "ü", None])
def test_a_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match="is no name of a schedule"):
        check_name(name)


def test_what_is_written_is_read() -> None:
    definition = Definition(
        ("s3://b/", "@gs://b/list.csv"),
        cron="0 3 * * *",
        zone="Europe/Berlin",
        lease=60.0,
        update=3600.0,
        include=("*.jpg",),
    )
    assert Definition.parse(definition.text()) == definition.checked()
    run = ScheduledRun("running", "20260101-abc", 1.5, 2.5, leases=("job-1", "job-2"))
    assert ScheduledRun.parse(run.text()) == run


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"targets": ["s3://b/"]}', '{"targets": 5, "every": 1}', "[" * 9999),
        '{"targets": ["s3://b/"], "include": [], "exclude": [], "created": 1, "cron": 5}',
    ],
)
def test_what_nothing_of_ours_has_written_is_none(text: str) -> None:
    assert Definition.parse(text) is None
    assert ScheduledRun.parse(text) is None


@pytest.mark.parametrize("seconds", [1e-5, 1e11, 0.1 + 0.2])
def test_whatever_duration_can_be_given_can_be_read_back(seconds: float) -> None:
    definition = Definition(("s3://b/",), every=max(1.0, seconds), lease=seconds, update=seconds).checked()
    assert Definition.parse(definition.text()) == definition


@pytest.mark.parametrize("given", ["*.jpg", 5, [5], None, b"s3://b/"])
def test_lists_of_texts_are_no_single_text(given: Any) -> None:
    with pytest.raises(ConfigError, match="must be a list of texts"):
        texts_of("include", given)
    if not isinstance(given, str):
        with pytest.raises(ConfigError, match="targets="):
            targets_of(given)
