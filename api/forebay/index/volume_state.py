"""The state of a volume that is neither an entry nor a total: whose it is, and what was done to it when."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from forebay.index.part import Part


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When parts of the maintenance were done last, in seconds since the epoch; 0 for never.

    Attributes:
        maintained: any round of it.
        swept: the comparison of index and disk.
        forgotten: the removal of old jobs.
        complete: whether no file is waiting to be taken into the index.
    """

    maintained: float
    swept: float
    forgotten: float
    complete: bool


class VolumeState(Part):
    """The state of one volume, in the hash of its totals."""

    def identity(self) -> tuple[str | None, str | None]:
        """The id of the index and the directory that it belongs to; ``None`` where it is new."""
        index_id, directory = self._connection.command("hmget", self._keys.meta, ["index_id", "directory"])
        return index_id, directory

    def exists(self) -> bool:
        """Whether Redis knows the volume at all."""
        return bool(self._connection.command("exists", self._keys.meta))

    def settle(self, directory: str, index_id: str | None) -> str:
        """Binds a new index to a directory.

        Args:
            index_id: the id that the directory remembers; ``None`` for a new one.

        Returns:
            the id of the index; another process may have been faster.
        """
        # The directory first: a process that sees the id sees the directory, too.
        self._connection.command("hset", self._keys.meta, "directory", directory)
        self._connection.command("hsetnx", self._keys.meta, "index_id", index_id or uuid.uuid4().hex)
        return str(self._connection.command("hget", self._keys.meta, "index_id"))

    def run_id(self) -> str | None:
        """The start of Redis for which the volume's files have been counted; ``None`` for none."""
        run_id = self._connection.command("hget", self._keys.meta, "run_id")
        return None if run_id is None else str(run_id)

    def recovered(self, run_id: str, lock: str, token: str, found: int) -> bool:
        """Records that the files were counted; every session ends, and sessions can begin again.

        Args:
            run_id: the start of Redis.
            lock, token: the recovery lock, and who holds it.
            found: bytes of the files on the volume.

        Returns:
            false where another process holds the lock by now, or has recovered the volume.
        """
        k = self._keys
        keys = [k.meta, lock, k.entries, k.atime, k.atime_leased, k.sessions, k.reserved]
        return bool(self._script("recovery_end", keys, [token, run_id, found]))

    def is_whole(self, run_id: str) -> bool:
        """Whether Redis has all of the index, as far as can be told at once, and was not started anew.

        Args:
            run_id: the start of Redis.
        """
        k = self._keys
        return bool(self._script("is_whole", [k.meta, k.entries, k.atime, k.atime_leased], [run_id]))

    def forget_recovery(self) -> None:
        """Has the files counted again, by the next process that asks or is refused a session."""
        self._connection.command("hdel", self._keys.meta, "run_id")

    def is_complete(self) -> bool:
        """Whether no file is waiting to be added to the index."""
        return str(self._connection.command("hget", self._keys.meta, "swept")) == "1"

    def recovery(self) -> str:
        """What tells the last recovery from others; empty before the first."""
        return str(self._connection.command("hget", self._keys.meta, "recovery") or "")

    def completed(self, recovery: str, foreign: int) -> bool:
        """Records that all files were added to the index.

        Args:
            recovery: the last one before they were looked at.
            foreign: bytes of files that are not the cache's.

        Returns:
            false when Redis has lost its data since; then nothing is recorded.
        """
        return bool(self._script("sweep_end", [self._keys.meta], [recovery, foreign]))

    def upkeep(self) -> Upkeep:
        """When the maintenance was done last."""
        names = ["maintained_at", "swept_at", "forgotten_at", "swept"]
        *times, complete = self._connection.command("hmget", self._keys.meta, names)
        maintained, swept, forgotten = (float(text or 0) for text in times)
        return Upkeep(maintained, swept, forgotten, complete == "1")

    def note_upkeep(self, part: str, now: float) -> None:
        """Records that a part of the maintenance (``maintained``, ``swept``, ``forgotten``) was done."""
        self._connection.command("hset", self._keys.meta, f"{part}_at", now)
