"""Counters: what all processes of a volume have counted, added up in Redis."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.index.part import Part


class CounterTotals(Part):
    """The counters of one volume."""

    def add(self, process: str, number: int, new: Mapping[tuple[str, str], float], max_sources: int) -> None:
        """Adds what a process has counted, by counter and source.

        Args:
            number: of this request; the same one sent again counts once.
            max_sources: how many sources are told apart.
        """
        k = self._keys
        keys = [k.counters, k.counted_sources, k.counted_lately, k.counted_by(process)]
        parts = (part for (counter, source), amount in new.items() for part in (counter, source, amount))
        self._script("counters_add", keys, [number, max_sources, *parts])

    def read(self) -> dict[str, dict[str, float]]:
        """All counters: by source, which may be empty, and by name."""
        found: dict[str, dict[str, float]] = {}
        for field, amount in self._connection.command("hgetall", self._keys.counters).items():
            counter, _, source = field.partition("@")
            found.setdefault(source, {})[counter] = float(amount)
        return found

    def download_rate(self) -> tuple[float, float]:
        """Downloaded bytes and objects a second, over the last minute."""
        slots, (seconds, _) = self._connection.pipeline(("hgetall", self._keys.counted_lately), ("time",))
        oldest = seconds // 5 - 12
        totals = {"bytes": 0.0, "objects": 0.0}
        for field, amount in slots.items():
            slot, _, what = field.partition("|")
            if int(slot) >= oldest:
                totals[what] += float(amount)
        return totals["bytes"] / 60, totals["objects"] / 60
