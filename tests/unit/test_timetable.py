"""How many bytes a second may come, by the time of the week."""

from __future__ import annotations

import time

import pytest

from forebay.config import MediaCacheConfig
from forebay.config.timetable import part_of, timetable
from forebay.errors import ConfigError

MB = 1 << 20


def at(text: str) -> time.struct_time:
    """A moment of a week that begins on a Monday, such as ``Tue 08:30``."""
    days = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    return time.strptime(f"2026-11-{23 + days.index(text[:3])} {text[4:]}", "%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "moment", "rate"),
    [
        ("10MB", "Mon 00:00", 10 * MB),
        ("10 MiB", "Sun 23:59", 10 * MB),
        ("1048576", "Wed 12:00", MB),
        ("off", "Wed 12:00", None),
        ("08:00,10MB 19:00,off", "Tue 07:59", None),
        ("08:00,10MB 19:00,off", "Tue 08:00", 10 * MB),
        ("08:00,10MB 19:00,off", "Tue 18:59", 10 * MB),
        ("08:00,10MB 19:00,off", "Tue 19:00", None),
        ("19:00,off 08:00,10MB", "Mon 00:00", None),
        ("08:00,10MB 19:00,off Sat-08:00,off", "Sat 12:00", None),
        ("Sat-08:00,off 08:00,10MB 19:00,off", "Sat 12:00", None),
        ("08:00,10MB 19:00,off Sat-08:00,off", "Fri 12:00", 10 * MB),
        ("mon-00:00,1MB friday-20:00,off", "Sun 23:00", None),
        ("mon-00:00,1MB friday-20:00,off", "Mon 00:00", MB),
        ("8:05,10MB", "Mon 03:00", 10 * MB),
    ],
)
def test_the_rate_of_a_moment(text: str, moment: str, rate: int | None) -> None:
    assert timetable(text).rate(at(moment)) == rate


@pytest.mark.parametrize(
    "value",
    [
        "",
        "fast",
        "10MB/s",
        "-1",
        "100",
        512,
        True,
        1.5,
        "08:00",
        "08:00,",
        "24:00,1MB",
        "8,1MB",
        "xyz-08:00,1MB",
    ],
)
def test_what_is_no_rate_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="expected a size a second such as 10MB, or a timetable") as raised:
        MediaCacheConfig(bwlimit=value)
    assert raised.value.setting == "bwlimit"


def test_a_part_of_it() -> None:
    assert part_of("10MB", 4) == str(10 * MB // 4)
    assert part_of("off", 4) == "off"
    assert part_of("08:00,10MB Sat-00:00,off", 2) == f"08:00,{5 * MB} Sat-00:00,off"
    # never so little that answers count as dripping
    assert part_of("2KB", 8) == "1024"
