"""What is cached already: a second prefetch, hits, and the first hit of a new process."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.budgets import Verdict
from bench.corpus import Corpus
from bench.place import scratch
from bench.process import run
from bench.report import Section, spread
from bench.scale import Scale
from bench.server import serving
from bench.tools import forebay
from bench.tools.task import PROGRAMS, Task

_SIZE = 1000
_HITS = 5000


@dataclass(frozen=True)
class _Cache:
    """A cache that holds small objects.

    Attributes:
        uris: a file with a URI a line.
        environment: of processes that use the cache.
    """

    corpus: Corpus
    uris: Path
    environment: dict[str, str]

    def program(self, name: str, *words: str) -> list[str]:
        return [sys.executable, str(PROGRAMS / f"{name}.py"), *words]


@contextlib.contextmanager
def _filled(objects: int, directory: Path | None) -> Iterator[_Cache]:
    with scratch(10 * objects * _SIZE, directory) as place:
        corpus = Corpus.make(place / "root", "photos", objects, _SIZE)
        with (
            serving(place / "root", place / "nginx", corpus) as site,
            forebay.stopping(place / "cache"),
        ):
            task = Task(corpus, corpus, site.endpoints["plain"], place)
            environment = forebay.environment(task, place / "cache")
            uris = corpus.write_list(place / "uris")
            run(forebay.prefetch(uris), environment)
            yield _Cache(corpus, uris, environment)


def second(scale: Scale) -> Section:
    """Prefetches what is there already, in a new process each time."""
    with _filled(scale.cached, scale.directory) as cache:
        program = cache.program("forebay_second", str(cache.uris))
        runs = [run(program, cache.environment) for _ in range(scale.rounds + 1)][1:]
    walls, inner = [one.wall for one in runs], [float(one.output) for one in runs]
    whole = spread([scale.cached / one for one in walls], "{:,.0f}".format)
    call = spread([scale.cached / one for one in inner], "{:,.0f}".format)
    cpu = spread([one.cpu / scale.cached * 1e6 for one in runs], "{:.1f}".format)
    memory, _ = spread([one.rss / 1e6 for one in runs], "{:.0f}".format)
    section = Section("second", [f"{scale.cached:,} objects that are there, a new process each time."])
    head = ("", "objects/s", "min–max", "CPU µs/object", "min–max", "peak MB")
    rows = [("whole process", *whole, *cpu, memory), ("without its start", *call, "", "", "")]
    section.tables.append((head, rows))
    # A few objects would show little but the start.
    rate = scale.cached / statistics.median(inner if scale.quick else walls)
    what = f"a second prefetch, {scale.cached:,} objects, "
    what += "without its start" if scale.quick else "whole process"
    section.verdicts.append(Verdict.at_least(what, rate, 100_000, "{:,.0f} objects/s"))
    return section


def hit(scale: Scale) -> Section:
    """Asks for paths of what is there."""
    passes = 2 * scale.rounds + 1
    with _filled(_HITS, scale.directory) as cache:
        done = run(cache.program("forebay_hits", str(cache.uris), str(passes)), cache.environment)
    found = json.loads(done.output)
    first, *others = [seconds / _HITS * 1e6 for seconds in found["seconds"]]
    commands, hits = found["commands"], _HITS * passes
    median, limits = spread(others, "{:.1f}".format)
    section = Section("hit")
    section.tables.append(
        (
            ("`local_path` on a hit", "µs", "min–max", "peak MB"),
            [
                ("a URI that was seen before", median, limits, f"{done.rss / 1e6:.0f}"),
                ("a URI that is seen for the first time", f"{first:.1f}", "", ""),
            ],
        )
    )
    # What other threads of the process send in these seconds (heartbeats, times of use) is counted, too.
    section.notes.append(f"{hits:,} hits, during which the process sent {commands} commands to Redis.")
    section.verdicts += [
        Verdict.at_most("local_path on a hit", statistics.median(others), 6, "{:.1f} µs"),
        Verdict("round trips to Redis of a hit", "0", f"{commands / hits:.4f}", commands < hits / 1000),
    ]
    return section


def startup(scale: Scale) -> Section:
    """Starts new processes."""
    times = 2 * scale.rounds + 1
    with _filled(100, scale.directory) as cache:
        uris = cache.corpus.uris[1:times]
        program = cache.program("forebay_hit")
        bare, imports, hits, memory = [], [], [], 0
        run([*program, cache.corpus.uris[0]], cache.environment)
        for uri in uris:
            bare.append(run([sys.executable, "-c", ""], cache.environment).wall * 1e3)
            imports.append(float(run(program, cache.environment).output) * 1e3)
            done = run([*program, uri], cache.environment)
            hits.append(done.wall * 1e3)
            memory = max(memory, done.rss)
    section = Section("startup", [f"The process of the first hit has {memory / 1e6:.0f} MB at most."])
    rows = [
        (name, *spread(values, "{:.0f}".format))
        for name, values in (
            ("`import forebay`", imports),
            ("first hit, whole process", hits),
            ("a Python that does nothing, whole process", bare),
        )
    ]
    section.tables.append((("", "ms", "min–max"), rows))
    section.verdicts += [
        Verdict.at_most("import forebay", statistics.median(imports), 50, "{:.0f} ms"),
        Verdict.at_most("first hit in a new process", statistics.median(hits), 150, "{:.0f} ms"),
    ]
    return section
