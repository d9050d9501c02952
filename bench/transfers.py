"""Comparisons of tools that fetch the same objects from the same server: a `Comparison` is data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.budgets import Bound, MemoryBound
from bench.corpus import Corpus
from bench.place import scratch
from bench.report import Section, Table, spread
from bench.rounds import Measured, Row, alternate
from bench.scale import Scale
from bench.server import LATE_SECONDS, OWN_ETAGS, Site, serving
from bench.tools.task import Task


@dataclass(frozen=True)
class Comparison:
    """Tools that fetch the same.

    Attributes:
        name: of the section.
        endpoint: which of the server's.
        rows: the tools, in the order in which they take turns.
        bounds: what is required of them.
        objects: many small ones, or one large one.
    """

    name: str
    endpoint: Literal["plain", "tls", "late", "late-tls"]
    rows: tuple[Row, ...]
    bounds: tuple[Bound | MemoryBound, ...]
    objects: Literal["many", "one"] = "many"

    def chosen(self, scale: Scale) -> list[Row]:
        """The rows of a run of that scale."""
        rows = [row for row in self.rows if row.quick or not scale.quick]
        return [row for row in rows if not scale.only or any(word in row.tool.name for word in scale.only)]

    def asked(self, scale: Scale) -> list[Bound | MemoryBound]:
        """The bounds on the rows of such a run; one on a row that failed is among them."""
        names = {row.tool.name for row in self.chosen(scale)}
        return [
            bound
            for bound in self.bounds
            if bound.ours in names and (isinstance(bound, MemoryBound) or names & set(bound.peers))
        ]


@dataclass(frozen=True)
class Objects:
    """The buckets that are fetched, on a running server."""

    place: Path
    site: Site
    measured: Corpus
    warm_up: Corpus
    before: Corpus


@contextlib.contextmanager
def objects(kind: Literal["many", "one"], scale: Scale) -> Iterator[Objects]:
    """Makes and serves what is fetched."""
    count, size = (1, scale.large) if kind == "one" else (scale.objects, scale.size)
    with scratch(2 * count * size + (64 << 20), scale.directory) as place:
        root = place / "root"
        measured = Corpus.make(root, OWN_ETAGS if kind == "one" else "photos", count, size)
        warm_up = Corpus.make(root, "warm-up", 1 if kind == "one" else min(256, count), scale.size)
        before = Corpus.make(root, "before", 32, 1000)
        with serving(root, place / "nginx", measured, warm_up, before) as site:
            yield Objects(place, site, measured, warm_up, before)


def compare(comparison: Comparison, there: Objects, scale: Scale) -> Section:
    """Runs the tools of a comparison in turn."""
    endpoint = there.site.endpoints[comparison.endpoint]
    measured, warm_up, place = there.measured, there.warm_up, there.place
    found = alternate(
        comparison.chosen(scale),
        Task(warm_up, there.before, endpoint, place),
        Task(measured, warm_up, endpoint, place),
        place / "destination",
        scale.rounds,
    )
    section = Section(comparison.name, [_describe(comparison, there, scale)])
    section.notes += [f"{name}: not measured, {reason}" for name, reason in found.absent.items()]
    section.tables.append(table(found, len(measured.md5), measured.sizes[0], scale.rounds))
    section.verdicts += [bound.judge(found.runs) for bound in comparison.asked(scale)]
    return section


def _describe(comparison: Comparison, there: Objects, scale: Scale) -> str:
    count, size = len(there.measured.md5), there.measured.sizes[0]
    what = f"{count:,} objects of {size:,} bytes" if count > 1 else f"One object of {size:,} bytes"
    how = "TLS" if comparison.endpoint.endswith("tls") else "plain HTTP"
    late = comparison.endpoint.startswith("late")
    late_by = f"{LATE_SECONDS * 1e3:.0f} ms before each answer ({there.site.lateness})"
    return f"{what}, {how}, {late_by if late else 'no latency'}, {scale.rounds} rounds."


def table(found: Measured, count: int, size: int, rounds: int) -> Table:
    """Speed, CPU and memory of every tool."""
    per, unit = (size / 1e6, "MB/s") if count == 1 else (count, "objects/s")
    work, cost = (1.0, "CPU s") if count == 1 else (count / 1e6, "CPU µs/object")
    rows = []
    for name, runs in found.runs.items():
        rate = spread([per / one.wall for one in runs], "{:,.0f}".format)
        wall, _ = spread([one.wall for one in runs], "{:.2f}".format)
        cpu = spread([one.cpu / work for one in runs], ("{:.2f}" if count == 1 else "{:,.0f}").format)
        memory, _ = spread([one.rss / 1e6 for one in runs], "{:.0f}".format)
        few = f" ({len(runs)} rounds)" if len(runs) < rounds else ""
        rows.append((name + few, *rate, wall, *cpu, memory))
    return ("", unit, "min–max", "seconds", cost, "min–max", "peak MB"), rows
