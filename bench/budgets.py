"""Budgets: what is required of a figure or of a ratio of two, and whether that was reached."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.process import Run

Runs = Mapping[str, Sequence[Run]]
Figure = Literal["wall", "cpu", "rss"]


@dataclass(frozen=True)
class Verdict:
    """One line of the budgets, as it was measured.

    Attributes:
        what: was measured.
        required: the bound, in words; nothing if there is none.
        measured: the figure, in words.
        reached: whether it is within the bound; nothing if it could not be measured.
    """

    what: str
    required: str
    measured: str
    reached: bool | None

    @classmethod
    def at_least(cls, what: str, measured: float, bound: float, form: str) -> Verdict:
        """``form`` formats both figures, as in ``"{:.2f}x"``."""
        return cls(what, f">= {form.format(bound)}", form.format(measured), measured >= bound)

    @classmethod
    def at_most(cls, what: str, measured: float, bound: float, form: str) -> Verdict:
        """``form`` formats both figures, as in ``"{:.0f} ms"``."""
        return cls(what, f"<= {form.format(bound)}", form.format(measured), measured <= bound)

    @classmethod
    def unmeasured(cls, what: str, required: str, why: str) -> Verdict:
        return cls(what, required, f"not measured: {why}", None)

    @property
    def word(self) -> str:
        return {True: "reached", False: "NOT REACHED", None: "-"}[self.reached]


@dataclass(frozen=True)
class Bound:
    """What is required of one tool in comparison with others.

    Attributes:
        what: as in the table of the budgets.
        ours: the name of the tool.
        peers: those that it is compared with: the best of them counts.
        least: of the speed, peer's seconds / our seconds.
        most: of the CPU, our seconds / peer's seconds.
    """

    what: str
    ours: str
    peers: tuple[str, ...]
    least: float | None = None
    most: float | None = None

    def judge(self, runs: Runs) -> Verdict:
        """Compares, or says why that is not possible."""
        required = f">= {self.least:.2f}x" if self.least is not None else f"<= {self.most:.2f}x"
        there = [peer for peer in self.peers if runs.get(peer)]
        if not runs.get(self.ours) or not there:
            absent = self.ours if not runs.get(self.ours) else " and ".join(self.peers)
            return Verdict.unmeasured(self.what, required, f"no run of {absent}")
        if self.least is not None:
            ratio = paired(runs[best(runs, there, "wall")], runs[self.ours], "wall")
            return Verdict.at_least(self.what, ratio, self.least, "{:.2f}x")
        assert self.most is not None
        ratio = paired(runs[self.ours], runs[best(runs, there, "cpu")], "cpu")
        return Verdict.at_most(self.what, ratio, self.most, "{:.2f}x")


@dataclass(frozen=True)
class MemoryBound:
    """The most memory that any run of a tool may take, in MB."""

    what: str
    ours: str
    most: float

    def judge(self, runs: Runs) -> Verdict:
        done = runs.get(self.ours)
        if not done:
            return Verdict.unmeasured(self.what, f"<= {self.most:.0f} MB", f"no run of {self.ours}")
        return Verdict.at_most(self.what, max(one.rss for one in done) / 1e6, self.most, "{:.0f} MB")


def paired(above: Sequence[Run], below: Sequence[Run], figure: Figure) -> float:
    """The median of the ratios within each round: two runs of one round had the most similar conditions.

    A tool that was measured in fewer rounds is compared in those that both were in, the first ones.
    """
    pairs = zip(above, below, strict=False)
    return statistics.median(float(getattr(a, figure) / getattr(b, figure)) for a, b in pairs)


def best(runs: Runs, names: Sequence[str], figure: Figure) -> str:
    """The tool whose median is the least."""
    return min(names, key=lambda name: statistics.median(getattr(one, figure) for one in runs[name]))
