"""Sizes in bytes and durations in seconds, as people write them."""

from __future__ import annotations

import re

from forebay.errors import ConfigError

_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([smhd]?)\s*\Z", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"\s*([0-9]*\.?[0-9]+)\s*([KMGTP]?)(i?)B?\s*\Z", re.IGNORECASE)


def human(size: float) -> str:
    """``size`` bytes in units of 1,024, as FiftyOne writes them: ``1.5GB``."""
    units = iter(_UNITS)
    unit = next(units)
    while abs(size) >= 1024 and (larger := next(units, "")):
        size, unit = size / 1024, larger
    return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"


def parse_size(text: str) -> int:
    """The bytes that ``50GB``, ``1.5 MiB`` or ``1048576`` stand for; every unit is a power of 1,024.

    Raises:
        ConfigError: the text is no size.
    """
    match = _SIZE.match(text)
    if match is None:
        raise ConfigError(f"{text!r} is not a size; expected for instance 500MB, 50GB or a number of bytes")
    return int(float(match[1]) * 1024 ** ["", "K", "M", "G", "T", "P"].index(match[2].upper()))


def parse_duration(text: str | float) -> float:
    """The seconds that ``24h``, ``30m``, ``1.5d``, ``90s`` or ``90`` stand for.

    Raises:
        ConfigError: the text is no duration.
    """
    match = _DURATION.match(str(text))
    if match is None or not float(match[1]):
        raise ConfigError(f"{text!r} is not a duration; expected for instance 90s, 30m, 24h or 7d")
    return float(match[1]) * _SECONDS[match[2].lower()]
