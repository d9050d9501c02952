"""Keeps what is downloaded for a label within its quota: its own least recently used entries go first.

Downloads count when they are published. What is then too much is evicted from the label's own entries; where
none of these may go, the downloads themselves are removed, and their samples fail.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from functools import partial

from forebay.config.quota_setting import parsed
from forebay.config.sizes import human
from forebay.errors import CacheFullError, ForebayError
from forebay.fetch.outcome import Report, SampleOutcome
from forebay.index import Index
from forebay.index.records import AHEAD_SECONDS
from forebay.uri import entry_of, redact
from forebay.volume.counters import Counters
from forebay.volume.files import FoundFile
from forebay.volume.removal import Judge, Removal, Verdict

# Beside what is too much, so small a part of the quota is evicted, so that this is seldom.
_SLACK = 100
# A download is marked a moment before the index is told of it.
_SAME_TIME = 1e-3
_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0


class QuotaKeeper:
    """Keeps the quotas of one volume.

    Args:
        index: the volume's index.
        removal: removes files.
        counters: of this process.
        grace: for how many seconds a used entry is spared.
    """

    def __init__(self, index: Index, removal: Removal, counters: Counters, grace: float) -> None:
        self._index = index
        self._removal = removal
        self._counters = counters
        self._grace = grace

    def watching(self, quota: str, report: Report) -> Report:
        """A report that passes outcomes on once the quota of their label is kept.

        Args:
            quota: label and bytes, as they were given.
        """
        known = parsed(quota)
        if known is None:
            return report
        label, limit = known
        return lambda outcomes: report(self._kept(label, limit, outcomes))

    def _kept(self, label: str, limit: int, outcomes: list[SampleOutcome]) -> list[SampleOutcome]:
        entries = {entry_of(one.uri): one.size for one in outcomes if one.state == "downloaded"}
        if not entries or self._index.quotas.charge(label, limit, [*entries]) <= limit:
            return outcomes
        self._evict(label, limit, entries.keys())
        used = self._index.quotas.used(label)
        if used <= limit:
            return outcomes
        refused, evicted = self._excess(entries, limit - used + sum(entries.values()))
        self._remove([*refused, *evicted], lambda entry, found: Verdict.REMOVE)
        return [
            one._replace(state="failed", size=0, error=_exceeded(one.uri, label, limit, used))
            if one.state == "downloaded" and entry_of(one.uri) in refused
            else one
            for one in outcomes
        ]

    def _excess(self, entries: Mapping[str, int], room: int) -> tuple[set[str], set[str]]:
        """Which of some downloads fail, and which are evicted at once for those that came after them.

        Args:
            entries: their sizes, in the order of the downloads.
            room: what the quota leaves for them, in bytes.
        """
        leased = dict(zip(entries, self._index.leases.kept([*entries]), strict=True))
        refused, evicted, left = set[str](), set[str](), room
        for entry, size in reversed([*entries.items()]):
            if size <= left:
                left -= size
            elif size > room or leased[entry]:
                refused.add(entry)
            else:
                evicted.add(entry)
        return refused, evicted

    def _evict(self, label: str, limit: int, spared: Container[str]) -> None:
        """Evicts a label's own entries, except some, until its quota is kept, or none of them may go."""
        give_up_at = time.monotonic() + self._grace + _PATIENCE_SECONDS
        while (excess := self._index.quotas.used(label) - limit) > 0 and time.monotonic() < give_up_at:
            now, wanted = time.time(), excess + limit // _SLACK
            chosen, in_grace = self._index.quotas.oldest(
                label, now - self._grace, now + AHEAD_SECONDS, wanted, spared
            )
            atimes = dict(chosen)

            # A hit marks the file only.
            if chosen and self._remove([*atimes], partial(_unless_used, atimes)):
                continue
            if in_grace is None and not chosen:
                return
            time.sleep(_PAUSE_SECONDS)

    def _remove(self, entries: Sequence[str], judge: Judge) -> int:
        """Removes entries that no other process has claimed; returns the bytes that became free."""
        token, answers = self._removal.claim(entries)
        claimed = [entry for entry, answer in zip(entries, answers, strict=True) if answer.granted]
        done = self._removal.run(token, claimed, judge, put_back_at=0.0)
        self._counters.evicted([0.0] * len(done.entries), done.freed)
        return done.freed


def _unless_used(atimes: Mapping[str, float], entry: str, found: FoundFile | None) -> Verdict | float:
    mark = 0.0 if found is None else found.status.st_atime
    return mark if mark > atimes[entry] + _SAME_TIME else Verdict.REMOVE


def _exceeded(uri: str, label: str, limit: int, used: int) -> ForebayError:
    shown = redact(uri)
    return CacheFullError(
        f"{shown}: the quota {label}={human(limit)} is used up: {human(used)} count on the label "
        f"{label!r}, and none of its other entries may be evicted, as leases keep them or they are in use; "
        "end a lease of that label, or raise its quota",
        uri=shown,
        limit=limit,
        held=used,
    )
