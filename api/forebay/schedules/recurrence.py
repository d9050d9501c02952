"""When something that recurs is due: every so many seconds, or at the times of a cron expression."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from forebay.config.sizes import parse_duration
from forebay.errors import ConfigError
from forebay.uri import shown

_MIN_SECONDS = 1.0


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
            "a schedule is either for every so often (1h, 7d) or at the times of a cron expression"
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
        moment = datetime.fromtimestamp(now, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"{shown(zone)} is no time zone; expected for instance UTC or Europe/Berlin"
        ) from None
    fields = (cron or "").split()
    if len(fields) != 5:
        raise _no_cron(cron)
    # Imported here: Celery takes long to import, and most schedules do without.
    from celery.schedules import crontab

    minute, hour, day, month, weekday = fields
    try:
        schedule = crontab(minute, hour, weekday, day, month, nowfun=lambda: moment)
        last, delta, _ = schedule.remaining_delta(moment, tz=moment.tzinfo)
        following: datetime = last + delta
    except Exception:  # of several kinds, which its parser raises
        raise _no_cron(cron) from None
    if following <= moment:
        # The hour that comes twice when summer time ends.
        following = moment + timedelta(minutes=1)
    return following.timestamp()


def _no_cron(cron: str | None) -> ConfigError:
    return ConfigError(
        f"{shown(cron)} is no cron expression: expected minute, hour, day, month and weekday, as '0 3 * * *'"
    )
