"""How many bytes a second may come: always the same, or by the time of the week."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from forebay.config.kinds import Kind, NotAllowedError
from forebay.config.sizes import in_bytes

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES = 24 * 60
_ENTRY = re.compile(r"(?:([a-z]{3})[a-z]*-)?([0-9]{1,2}):([0-9]{2}),(\S+)", re.IGNORECASE)
_LEAST = 1024
_EXPECTED = "expected a size a second such as 10MB, or a timetable such as '08:00,10MB 19:00,off'"


@dataclass(frozen=True)
class Timetable:
    """Rates by the time of the week.

    Attributes:
        entries: minutes since Monday 00:00, in order, and the bytes a second from then on; ``None`` for any
            number.
    """

    entries: tuple[tuple[int, int | None], ...]

    def rate(self, moment: time.struct_time | None = None) -> int | None:
        """The bytes a second that may come.

        Args:
            moment: the local time; by default this moment.
        """
        moment = moment or time.localtime()
        minute = moment.tm_wday * _MINUTES + moment.tm_hour * 60 + moment.tm_min
        # Before the first entry of the week, the last one still holds.
        rate = self.entries[-1][1]
        for begin, one in self.entries:
            if begin > minute:
                break
            rate = one
        return rate


def timetable(value: Any) -> Timetable:
    """Reads ``10MB``, ``off``, or a timetable as rclone has it: ``08:00,10MB Sat-00:00,off``.

    A time without a day holds for every day. Sizes are powers of 1,024.

    Raises:
        NotAllowedError: it is neither.
    """
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise NotAllowedError(_EXPECTED)
    words = str(value).split()
    if len(words) <= 2 and "," not in str(value):
        return Timetable(((0, _rate("".join(words))),))
    entries: dict[int, int | None] = {}
    # What names its day goes before what holds for every day.
    for word in sorted(words, key=lambda word: "-" in word):
        match = _ENTRY.fullmatch(word)
        hour, minute = (int(match[2]), int(match[3])) if match else (24, 0)
        day = match[1] and match[1].lower() if match else None
        if match is None or hour > 23 or minute > 59 or (day is not None and day not in _DAYS):
            raise NotAllowedError(_EXPECTED)
        for number in range(7) if day is None else (_DAYS.index(day),):
            entries[number * _MINUTES + hour * 60 + minute] = _rate(match[4])
    return Timetable(tuple(sorted(entries.items())))


def bandwidth(value: Any) -> str:
    """A rate or timetable as text, in its usual form.

    Raises:
        NotAllowedError: it is neither.
    """
    timetable(value)
    return " ".join(str(value).split())


BANDWIDTH = Kind("a size a second, or a timetable", bandwidth)


def part_of(text: str, parts: int) -> str:
    """The timetable by which one of several processes gets its part."""
    if "," not in text:
        rate = timetable(text).rate()
        return "off" if rate is None else str(max(_LEAST, rate // parts))
    words = []
    for word in text.split():
        begin, _, size = word.partition(",")
        rate = _rate(size)
        words.append(f"{begin},{'off' if rate is None else max(_LEAST, rate // parts)}")
    return " ".join(words)


def _rate(text: str) -> int | None:
    if text.lower() == "off":
        return None
    size = in_bytes(text)
    if not isinstance(size, int) or size < _LEAST:
        raise NotAllowedError(f"{_EXPECTED}; at least 1KB, or off")
    return size
