"""The result of one task as text: Flower shows it as the result, or as the reason of the failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from forebay.config.sizes import human
from forebay.errors import ForebayError, SourceError
from forebay.fetch.outcome import SampleOutcome

# Flower keeps thousands of tasks in memory; the ledger has every failure.
_SHOWN_FAILURES = 3


class SamplesFailedError(Exception):
    """Some samples of a task failed; the message says which, and why."""


class Tally:
    """Counts how samples end.

    Args:
        samples: how many there are.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._states: Counter[str] = Counter()
        self._bytes = 0
        self._failures: list[str] = []

    @property
    def ended(self) -> int:
        """Samples that have ended."""
        return self._states.total()

    @property
    def left(self) -> int:
        """Samples that have not."""
        return self._samples - self.ended

    def add(self, outcomes: Sequence[SampleOutcome]) -> None:
        """Counts samples that have ended."""
        for outcome in outcomes:
            self._states[outcome.state] += 1
            self._bytes += outcome.size
            if outcome.error is not None and len(self._failures) < _SHOWN_FAILURES:
                tried = f" ({outcome.attempts} attempts)" if outcome.attempts > 1 else ""
                self._failures.append(f"{_reason_first(outcome.error)}{tried}")

    def result(self) -> str:
        """The text that Flower shows as the task's result.

        Raises:
            SamplesFailedError: some failed.
        """
        states, parts = self._states, []
        if states["downloaded"]:
            parts.append(f"{states['downloaded']:,} downloaded ({human(self._bytes)})")
        if states["cached"]:
            parts.append(f"{states['cached']:,} cached already")
        if self.left:
            parts.append(f"{self.left:,} requeued")
        if not states["failed"]:
            return ", ".join(parts)
        more = states["failed"] - len(self._failures)
        reasons = "; ".join([*self._failures, *([f"and {more:,} more"] if more else [])])
        done = f" ({', '.join(parts)})" if parts else ""
        noun = "sample" if self._samples == 1 else "samples"
        raise SamplesFailedError(f"{states['failed']:,} of {self._samples:,} {noun} failed{done}: {reasons}")


def _reason_first(error: ForebayError) -> str:
    """An error for Flower's table, in which a line is cut: a URI may be long, and is in another column."""
    return f"{error.reason}: {error.uri}" if isinstance(error, SourceError) else str(error)
