"""How many requests of each second a host gets at most, as the settings say."""

from __future__ import annotations

import re
from collections.abc import Mapping

# What was not used is made up for by so many seconds: a busy loop comes a little late.
_LATE_SECONDS = 0.05


class RequestRate:
    """The pace of one host. Knows no clock; it is told the time.

    Args:
        rate: requests a second.

    Attributes:
        next_at: when the next request may start.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.next_at = 0.0

    def started(self, now: float, parts: int) -> None:
        """A request was sent.

        Args:
            parts: among how many processes the rate is divided.
        """
        self.next_at = max(self.next_at, now - _LATE_SECONDS) + parts / self._rate


def rate_of(origin: str, limits: Mapping[str, float]) -> RequestRate | None:
    """The pace of a host; ``None`` where no pattern is for it. The first that is counts.

    Args:
        origin: scheme, host and port.
        limits: requests a second by host, or host and port; ``*`` stands for any characters.
    """
    address = origin.partition("://")[2].lower()
    host = re.sub(r":[0-9]+\Z", "", address)
    for pattern, rate in limits.items():
        expression = ".*".join(map(re.escape, pattern.lower().split("*")))
        if any(re.fullmatch(expression, name) for name in (host, address)):
            return RequestRate(rate)
    return None
