"""A circuit breaker for each bucket and host: stops asking servers that do not answer at all.

Without it, a job of thousands of objects would wait for hours for a server that is switched off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from forebay.errors import SourceError, SourceNotAllowedError, TransientSourceError
from forebay.uri import MediaURI

# The circuit opens after this many objects in a row, each tried as often as `max_attempts` says.
_FAILURES_TO_OPEN = 4
# While it is open nothing is tried; the first object after that shows whether the server is back.
_OPEN_SECONDS = 30.0
# A server that answered within this time is expected back soon: its objects are tried one by one.
_TRUST_SECONDS = 600.0


class NotTriedError(TransientSourceError):
    """The circuit is open: the server did not answer for other objects, so this one was not requested."""

    exhausted = True


@dataclass
class _Circuit:
    failures: int = 0
    answered_at: float = float("-inf")
    open_until: float = float("-inf")


class CircuitBreaker:
    """Counts the unanswered requests of each bucket or host. Safe to use from many threads."""

    def __init__(self) -> None:
        self._circuits: dict[tuple[str, str], _Circuit] = {}

    def check(self, uri: MediaURI) -> None:
        """Does nothing while the circuit of the URI's bucket or host is closed.

        Raises:
            NotTriedError: the circuit is open; the message says for how many objects nothing came.
        """
        circuit = self._circuits.get((uri.scheme, uri.bucket))
        if circuit is not None and circuit.failures and time.monotonic() < circuit.open_until:
            raise NotTriedError(
                uri.redacted,
                f"not tried, as {uri.scheme}://{uri.bucket} has not answered for {circuit.failures} objects "
                f"before; check its address, the network and that it is up "
                f"(tried again after {_OPEN_SECONDS:.0f} s)",
            )

    def record(self, uri: MediaURI, error: Exception | None) -> None:
        """Records how the last attempt at an object ended.

        Args:
            error: ``None`` when it succeeded. Errors that say nothing about the server do not count.
        """
        if isinstance(error, NotTriedError | SourceNotAllowedError):
            return
        if error is not None and not isinstance(error, SourceError):
            return
        place = uri.scheme, uri.bucket
        circuit = self._circuits.get(place) or self._circuits.setdefault(place, _Circuit())
        now = time.monotonic()
        if not (isinstance(error, TransientSourceError) and error.kind == "connection"):
            circuit.failures, circuit.answered_at = 0, now
            return
        circuit.failures += 1
        if circuit.failures >= _FAILURES_TO_OPEN and now - circuit.answered_at > _TRUST_SECONDS:
            circuit.open_until = now + _OPEN_SECONDS
