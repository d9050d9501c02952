"""When something that recurs is due: every so many seconds, or at the times of a cron expression."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from forebay.config.sizes import parse_duration
from forebay.errors import ConfigError
from forebay.uri import shown

_MIN_SECONDS = 1.0
_DAY_SECONDS = 86_400.0


def check(every: float | str | None, cron: str | None, zone: str) -> float | None:
    """Checks a recurrence; returns the seconds of ``every``.

    Args:
        every: a duration, in seconds or as ``1h``.
        cron: five fields, as ``0 3 * * *``.
        zone: the time zone of these, as ``Europe/Berlin``.

    Raises:
        ConfigError: it is none.
    """
    if (every is None) == (cron is None):
        raise ConfigError(
            "a schedule needs either --every (every=), such as 1h, or --cron (cron=), such as '0 3 * * *'"
        )
    if cron is not None:
        next_time(None, cron, zone, 0.0, 0.0)
        return None
    seconds = parse_duration(every or 0)
    if seconds < _MIN_SECONDS:
        raise ConfigError(f"{shown(every)} is too short for a schedule: at least {_MIN_SECONDS:.0f}s")
    return seconds


def next_time(every: float | None, cron: str | None, zone: str, due: float, now: float) -> float:
    """When it is due next after ``now``. Times that passed meanwhile do not count: one run catches up.

    Args:
        every, cron, zone: see `check`.
        due: when it was due last; with ``every``, the next time is a whole number of periods later.

    Raises:
        ConfigError: the expression or the time zone is none.
    """
    if every is not None:
        return due + (max(0.0, now - due) // every + 1) * every
    try:
        place = ZoneInfo(zone)
        _offset(place, now)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, OverflowError):
        raise ConfigError(
            f"{shown(zone)} is no time zone; expected for instance UTC or Europe/Berlin"
        ) from None
    if not isinstance(cron, str) or len(cron.split()) != 5:
        raise _no_cron(cron)
    return _next_of(cron, place, now)


def _next_of(cron: str, zone: ZoneInfo, now: float) -> float:
    """When the time of an expression comes next.

    An hour that comes twice, when summer time ends, and one that never comes, when it begins, are as with the
    cron of Debian: what names its hour runs once, and at another time if there is none such; what runs every
    hour goes on as if nothing had happened.
    """
    names_its_hour = not cron.split()[1].startswith("*")
    after, offset = now, _offset(zone, now)
    while True:
        # Without changes of the clock, there is nothing that an expression could be unclear about.
        found = _next_at(cron, after, offset)
        if _offset(zone, found) != offset:
            change = _change(zone, after, found)
            skipped = (_offset(zone, change) - offset).total_seconds()
            if names_its_hour and change <= found < change + skipped:
                return found
            after, offset = change - 1.0, _offset(zone, change)
        elif names_its_hour and datetime.fromtimestamp(found, zone).fold:
            after = found
        else:
            return found


def _next_at(cron: str, after: float, offset: timedelta) -> float:
    # Imported here: Celery takes long to import, and most schedules do without.
    from celery.schedules import crontab

    moment = datetime.fromtimestamp(after, timezone(offset))
    minute, hour, day, month, weekday = cron.split()
    try:
        schedule = crontab(minute, hour, weekday, day, month, nowfun=lambda: moment)
        last, delta, _ = schedule.remaining_delta(moment, tz=moment.tzinfo)
        following: datetime = last + delta
        return following.timestamp()
    except Exception:  # of several kinds, which its parser raises
        raise _no_cron(cron) from None


def _change(zone: ZoneInfo, start: float, end: float) -> float:
    """When a zone's clock is changed first after a time, to the second."""
    before = _offset(zone, start)
    while start + _DAY_SECONDS < end and _offset(zone, start + _DAY_SECONDS) == before:
        start += _DAY_SECONDS
    end = min(end, start + _DAY_SECONDS)
    while end - start > 1.0:
        middle = (start + end) // 2.0
        start, end = (middle, end) if _offset(zone, middle) == before else (start, middle)
    return end


def _offset(zone: ZoneInfo, at: float) -> timedelta:
    return datetime.fromtimestamp(at, zone).utcoffset() or timedelta()


def _no_cron(cron: str | None) -> ConfigError:
    return ConfigError(
        f"{shown(cron)} is no cron expression, or none whose time ever comes: expected minute, hour, day, "
        "month and weekday (0 to 6, 0 is Sunday), as '0 3 * * *'"
    )
