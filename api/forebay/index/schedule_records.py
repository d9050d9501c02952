"""Standing prefetches, as Redis keeps them: what they are, when they are due, and their last runs."""

from __future__ import annotations

from typing import NamedTuple

from forebay.index.part import Part


class ScheduleRecord(NamedTuple):
    """A standing prefetch.

    Attributes:
        text: what it is, as JSON.
        due: when it runs next, in seconds since the epoch; ``None`` while it is paused.
        paused: whether it is paused.
        run: its last run, as JSON; empty before the first.
    """

    text: str
    due: float | None
    paused: bool
    run: str


class ScheduleRecords(Part):
    """The standing prefetches of one volume."""

    def add(self, name: str, text: str, due: float) -> bool:
        """Adds one; false where there is one of that name."""
        k = self._keys
        return bool(self._script("schedule_put", [k.schedules, k.schedules_due], [name, text, due]))

    def all(self) -> dict[str, ScheduleRecord]:
        """Every one, by name."""
        k = self._keys
        texts, due, paused, runs = self._connection.pipeline(
            ("hgetall", k.schedules),
            ("zrange", k.schedules_due, 0, -1, False, True),
            ("smembers", k.schedules_paused),
            ("hgetall", k.schedule_runs),
        )
        times = {name: float(score) for name, score in due}
        return {
            name: ScheduleRecord(text, times.get(name), name in paused, runs.get(name, ""))
            for name, text in sorted(texts.items())
        }

    def set_due(self, name: str, due: float) -> bool:
        """Has one run at ``due``, once where it is paused; false where there is none of that name."""
        return self._set(name, "now", due)

    def resume(self, name: str, due: float) -> bool:
        """Ends the pause of one, which then runs at ``due``; false where there is none of that name."""
        return self._set(name, "resume", due)

    def pause(self, name: str) -> bool:
        """Has one not run until it is resumed; false where there is none of that name."""
        return self._set(name, "pause")

    def remove(self, name: str) -> bool:
        """Removes one; false where there is none of that name."""
        return self._set(name, "remove")

    def begin(self, name: str, due: float, following: float, last: str, run: str) -> bool:
        """Begins the run that was due at ``due``: of several callers, one.

        Args:
            following: when it is due next.
            last: the last run, as it was read.
            run: the run that begins.

        Returns:
            whether this caller has it.
        """
        k = self._keys
        keys = [k.schedules, k.schedules_due, k.schedules_paused, k.schedule_runs]
        return bool(self._script("schedule_begin", keys, [name, due, following, last, run]))

    def note(self, name: str, before: str, after: str) -> bool:
        """Writes down what became of a run; false where it is another by now."""
        return bool(self._script("schedule_note", [self._keys.schedule_runs], [name, before, after]))

    def _set(self, name: str, what: str, due: float = 0.0) -> bool:
        k = self._keys
        keys = [k.schedules, k.schedules_due, k.schedules_paused, k.schedule_runs]
        return bool(self._script("schedule_set", keys, [name, what, due]))
