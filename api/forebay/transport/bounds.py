"""What bounds a process: the bytes of each second, and the requests that a host gets in each.

Of each there may be a rate of this process alone, and one that it shares with others, of which it has what it
was granted.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping

from forebay.transport.settings import TransportSettings
from forebay.transport.throttle import Throttle, Use

#: The name of the bytes among what is shared; the others are origins: scheme, host and port.
BYTES = "bytes"
# A busy loop comes a little late; more would be a burst, which is what a server counts.
_BURST_SECONDS = 0.05


class Bounds:
    """The bounds of one process. Knows no clock; it is told the time. Safe for threads.

    Attributes:
        bytes: bounds the bytes that come; ``None`` for no bound.
        wanted: is set when something waits while nothing of it is granted.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self.wanted = threading.Event()
        is_bounded = settings.rate or settings.shared_rate
        self.bytes = Throttle(settings.rate or _any_number, self.wanted) if is_bounded else None
        self._hosts: dict[str, Throttle] = {}
        self._parts = 1
        self._is_sharing = False
        self._lock = threading.Lock()

    def requests(self, origin: str) -> Throttle | None:
        """Bounds the requests to a host; ``None`` for no bound.

        Args:
            origin: scheme, host and port.
        """
        own = rate_of(origin, self._settings.request_limits)
        is_shared = rate_of(origin, self._settings.shared_request_limits) is not None
        if own is None and not is_shared:
            return None
        with self._lock:
            throttle = self._hosts.get(origin)
            if throttle is None:
                throttle = Throttle(lambda: own, self.wanted, burst_seconds=_BURST_SECONDS)
                throttle.divide(self._parts)
                if is_shared and self._is_sharing:
                    throttle.grant(0.0, 0.0)
                self._hosts[origin] = throttle
        return throttle

    def forget(self, origin: str) -> None:
        """Forgets a host that is not asked anything any more."""
        with self._lock:
            self._hosts.pop(origin, None)

    def divide(self, parts: int) -> None:
        """Leaves all but one of so many parts of the own rates to other processes."""
        with self._lock:
            self._parts = parts
            for throttle in [self.bytes, *self._hosts.values()]:
                if throttle is not None:
                    throttle.divide(parts)

    def share(self, now: float) -> None:
        """From now on, this process has of what is shared what it is granted."""
        with self._lock:
            self._is_sharing = True
        for what in self.shared():
            self.grant(what, 0.0, now)

    def shared(self) -> list[str]:
        """What is shared: `BYTES`, and the origins that were asked something."""
        with self._lock:
            hosts = [one for one in self._hosts if rate_of(one, self._settings.shared_request_limits)]
        return [BYTES, *hosts] if self._settings.shared_rate else hosts

    def limit(self, what: str) -> float | None:
        """So much of it all may have together in a second; ``None`` for any number."""
        if what != BYTES:
            return rate_of(what, self._settings.shared_request_limits)
        return self._settings.shared_rate() if self._settings.shared_rate else None

    def use(self, what: str) -> Use:
        """How much of it was used since this was last asked."""
        throttle = self._throttle(what)
        return Use(0, False) if throttle is None else throttle.use()

    def grant(self, what: str, rate: float | None, now: float, until: float = math.inf) -> None:
        """Sets what this process has of it.

        Args:
            rate: so much a second; ``None`` for any number.
            until: from when on it has nothing.
        """
        throttle = self._throttle(what)
        if throttle is not None:
            throttle.grant(rate, now, until)

    def _throttle(self, what: str) -> Throttle | None:
        with self._lock:
            return self.bytes if what == BYTES else self._hosts.get(what)


def rate_of(origin: str, limits: Mapping[str, float]) -> float | None:
    """The requests a second of a host; ``None`` where no pattern is for it. The first that is counts.

    Args:
        origin: scheme, host and port.
        limits: requests a second by host, or host and port; ``*`` stands for any characters.
    """
    address = origin.partition("://")[2].lower()
    host = re.sub(r":[0-9]+\Z", "", address)
    for pattern, rate in limits.items():
        expression = ".*".join(map(re.escape, pattern.lower().split("*")))
        if any(re.fullmatch(expression, name) for name in (host, address)):
            return rate
    return None


def _any_number() -> None:
    return None
