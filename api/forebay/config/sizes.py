"""Sizes in bytes, numbers of things and durations in seconds, as people write them."""

from __future__ import annotations

import re
from typing import Any

from forebay.errors import ConfigError
from forebay.uri import shown

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([smhd]?)\s*\Z", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"\s*([0-9]{0,30}\.?[0-9]{1,30})\s*([KMGTP]?)(i?)B?\s*\Z", re.IGNORECASE)
_NO_LIMIT = "-1"


def human(size: float) -> str:
    """``size`` bytes in units of 1,024, as FiftyOne writes them: ``1.5GB``."""
    units = iter(_UNITS)
    unit = next(units)
    while abs(size) >= 1024 and (larger := next(units, "")):
        size, unit = size / 1024, larger
    return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"


def span(seconds: float) -> str:
    """A duration: ``0.4 s``, ``12 s``, ``3 min``, ``5 h``, ``2 days``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, name, max_count in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds / size < max_count:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def count(number: int, noun: str) -> str:
    """``1 sample`` or ``2,000 samples``."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def parse_size(size: str | int) -> int:
    """Convert ``50GB``, ``1.5 MiB`` or ``1048576`` to bytes; every unit is a power of 1,024.

    Raises:
        ConfigError: it is not a size, or a fraction of a byte.
    """
    is_size = isinstance(size, str | int) and not isinstance(size, bool)
    found = _bytes_of(str(size)) if is_size else None
    if found is None:
        raise ConfigError(
            f"{shown(size)} is not a size; expected for instance 500MB, 50GB or a number of bytes"
        )
    return found


LONGEST_SECONDS = 10**12
"""More is no time that a program waits for, and times in the index are still exact with it."""


def parse_duration(duration: str | float) -> float:
    """Convert ``24h``, ``30m``, ``1.5d``, ``90s`` or ``90`` to seconds.

    Raises:
        ConfigError: it is not a duration, or not a positive one of 30,000 years at most.
    """
    match = _DURATION.match(duration) if isinstance(duration, str) else None
    if match:
        seconds = float(match[1]) * _SECONDS[match[2].lower()]
    else:
        is_number = isinstance(duration, int | float) and not isinstance(duration, bool)
        seconds = float(duration) if is_number and abs(duration) <= LONGEST_SECONDS else 0.0  # type: ignore[arg-type]
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ConfigError(f"{shown(duration)} is not a duration; expected for instance 90s, 30m, 24h or 7d")
    return seconds


def in_bytes(value: Any) -> Any:
    """Convert text that is a size, or ``-1`` for no limit, to a number of bytes.

    Any other value is returned as it is: its own check reports it with the name of the setting.
    """
    if not isinstance(value, str):
        return value
    if value.strip() == _NO_LIMIT:
        return int(_NO_LIMIT)
    found = _bytes_of(value)
    return value if found is None else found


def in_seconds(value: Any) -> Any:
    """Convert text with a unit of time, such as ``30m``, to seconds; any other value is returned as it is."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    return float(match[1]) * _SECONDS[match[2].lower()] if match and match[2] else value


def _bytes_of(text: str) -> int | None:
    """The bytes of a size; ``None`` where it is none."""
    match = _SIZE.match(text)
    if match is None:
        return None
    whole, _, fraction = match[1].partition(".")
    unit = 1024 ** ["", "K", "M", "G", "T", "P"].index(match[2].upper())
    # In 1.5 the unit is missing. As 1 byte, it would be a cache in which nothing has room.
    if unit == 1 and fraction.strip("0"):
        return None
    # In integers: a float would round large sizes.
    return int(int(whole + fraction) * unit // 10 ** len(fraction))
