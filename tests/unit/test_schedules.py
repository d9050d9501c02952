"""When standing prefetches are due, and what of them can be written down."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from forebay.errors import ConfigError, ForebayError
from forebay.schedules import recurrence
from forebay.schedules.definition import Definition, ScheduledRun, check_name


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


@pytest.mark.parametrize("hours", range(0, 6))
def test_a_time_never_comes_before_now_when_summer_time_ends(hours: int) -> None:
    now = at("2026-10-24 22:30") + hours * 3600
    following = recurrence.next_time(None, "15 * * * *", "Europe/Berlin", 0.0, now)
    assert now < following <= now + 2 * 3600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "a schedule is either for every so often"),
        ({"every": "1h", "cron": "0 3 * * *"}, "a schedule is either for every so often"),
        ({"every": "often"}, "'often' is not a duration"),
        ({"every": 0.5}, "0.5 is too short for a schedule: at least 1s"),
        (
            {"cron": "0 3 * *"},
            "'0 3 * *' is no cron expression: expected minute, hour, day, month and weekday",
        ),
        ({"cron": "61 3 * * *"}, "is no cron expression"),
        ({"cron": "0 0 30 2 *"}, "is no cron expression"),
        ({"cron": "0 3 * * *", "zone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone"),
        ({"cron": "0 3 * * *", "zone": "../etc/passwd"}, "is no time zone"),
        ({"every": "1h", "lease": "long"}, "'long' is not a duration"),
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
    "text", ["", "x", "[]", "{}", '{"targets": ["s3://b/"]}', '{"targets": 5, "every": 1}', "[" * 9999]
)
def test_what_nothing_of_ours_has_written_is_none(text: str) -> None:
    assert Definition.parse(text) is None
    assert ScheduledRun.parse(text) is None
