"""Servers that do not answer at all: after a few objects, the others are not waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass

from forebay.errors import SourceError, SourceNotAllowedError, TransientSourceError
from forebay.uri import MediaURI

# So many objects in a row, each tried as often as `max_attempts` says.
_OBJECTS = 4
# Then nothing is tried for so long; the next object to come shows whether the server is back.
_PAUSE_SECONDS = 30.0
# A server that has answered lately is taken to be back soon: its objects are tried one by one.
_TRUST_SECONDS = 600.0


class NotTriedError(TransientSourceError):
    """The server has not answered for other objects a moment ago, so this one was not asked for."""

    exhausted = True


@dataclass
class _Place:
    failed: int = 0
    answered: float = float("-inf")
    silent_until: float = float("-inf")


class Reach:
    """What is known of the buckets and hosts that objects come from.

    A job of thousands of objects would otherwise wait for hours for a server that is switched off.
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def check(self, uri: MediaURI) -> None:
        """Lets pass what is worth an attempt.

        Raises:
            NotTriedError: nothing has come from its bucket or host for a while, try after try.
        """
        place = self._places.get(_name(uri))
        if place is not None and time.monotonic() < place.silent_until:
            raise NotTriedError(
                uri.redacted,
                f"not tried, as {_name(uri)} has not answered for {place.failed} objects before; check its "
                f"address, the network and that it is up (tried again after {_PAUSE_SECONDS:.0f} s)",
            )

    def note(self, uri: MediaURI, error: Exception | None) -> None:
        """Notes how the last attempt at an object ended."""
        if isinstance(error, NotTriedError | SourceNotAllowedError):
            return
        if error is not None and not isinstance(error, SourceError):
            return
        place = self._places.setdefault(_name(uri), _Place())
        now = time.monotonic()
        if not (isinstance(error, TransientSourceError) and error.kind == "connection"):
            place.failed, place.answered = 0, now
            return
        place.failed += 1
        if place.failed >= _OBJECTS and now - place.answered > _TRUST_SECONDS:
            place.silent_until = now + _PAUSE_SECONDS


def _name(uri: MediaURI) -> str:
    return f"{uri.scheme}://{uri.bucket}"
