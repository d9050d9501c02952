"""A part of an index: typed calls on some of the keys of one volume."""

from __future__ import annotations

from typing import Any

from forebay.index.connection import Connection
from forebay.index.keys import Keys
from forebay.index.records import IndexEmptiedError, LockLostError, SessionLostError


class Part:
    """Calls on one volume's keys. Each is one round trip, or one for every batch of entries."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    def _script(self, name: str, keys: list[str], arguments: list[Any], *, fenced: bool = False) -> Any:
        """Runs a script; ``fenced`` as for `Connection.script`.

        Raises:
            SessionLostError, IndexEmptiedError, LockLostError: the script refused for that reason.
            IndexUnavailableError: Redis does not come back.
        """
        import redis  # Not needed by a process that only ever hits.

        try:
            return self._connection.script(name, keys, arguments, fenced=fenced)
        except redis.ResponseError as error:
            if str(error).startswith("EMPTIED"):
                raise IndexEmptiedError from None
            if str(error).startswith("SESSION"):
                raise SessionLostError from None
            if str(error).startswith("LOCK"):
                raise LockLostError from None
            raise

    def _by_expiry(self, key: str) -> list[tuple[str, float]]:
        """The members of a sorted set of expiries, with the seconds left (negative: expired)."""
        found, (seconds, micros) = self._connection.pipeline(("zrange", key, 0, -1, False, True), ("time",))
        return [(name, float(expiry) - seconds - micros / 1e6) for name, expiry in found]
