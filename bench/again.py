"""What is cached already: a second prefetch, hits, and the first hit of a new process."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.corpus import Corpus
from bench.place import scratch
from bench.process import run
from bench.report import Budget, spread
from bench.server import serving
from bench.tools import forebay
from bench.tools.task import PROGRAMS, Task

_OBJECTS = 50_000
_SIZE = 1000


@contextlib.contextmanager
def _cached(objects: int, directory: Path | None) -> Iterator[tuple[Path, dict[str, str], list[str]]]:
    """A cache that holds small objects: a file of their URIs, the environment, and the URIs."""
    with scratch(10 * objects * _SIZE, directory) as place:
        corpus = Corpus.make(place / "root", "photos", objects, _SIZE)
        with (
            serving(place / "root", place / "nginx", corpus) as endpoint,
            forebay.stopping(place / "cache"),
        ):
            task = Task(corpus, corpus, endpoint, 16, place)
            environment = forebay.environment(task, place / "cache", "local")
            yield corpus.write_list(place / "uris"), environment, corpus.uris


def second(*, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Prefetches what is there already, in a new process each time."""
    with _cached(_OBJECTS, directory) as (uris, environment, _):
        run(forebay.prefetch(uris), environment)
        program = [sys.executable, str(PROGRAMS / "forebay_second.py"), str(uris)]
        seconds = [float(run(program, environment).output) for _ in range(rounds)]
    rate, limits = spread([_OBJECTS / one for one in seconds], "{:,.0f}".format)
    print(f"{_OBJECTS:,} objects that are there: {rate} objects/s ({limits}), imports not counted")
    median = _OBJECTS / statistics.median(seconds)
    return [Budget.at_least("a second prefetch", median, 100_000, "{:,.0f} objects/s")]


def hit(*, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Asks for paths of what is there."""
    with _cached(5000, directory) as (uris, environment, _):
        run(forebay.prefetch(uris), environment)
        command = [sys.executable, str(PROGRAMS / "forebay_hits.py"), str(uris), str(2 * rounds)]
        found = json.loads(run(command, environment).output)
    first, *others = [seconds / 5000 * 1e6 for seconds in found["seconds"]]
    median, limits = spread(others, "{:.1f}".format)
    print(f"local_path: {median} µs ({limits}) a hit, {first:.1f} µs where a URI is seen for the first time;")
    print(f"{5000 * 2 * rounds:,} hits made {found['commands']} commands for Redis")
    each = found["commands"] / (5000 * 2 * rounds)
    return [
        Budget.at_most("local_path on a hit", statistics.median(others), 10, "{:.1f} µs"),
        Budget("its round trips to Redis", "0", f"{each:.4f}", each < 0.001),
    ]


def startup(*, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Starts new processes."""
    with _cached(100, directory) as (uris, environment, all_uris):
        run(forebay.prefetch(uris), environment)
        program = [sys.executable, str(PROGRAMS / "forebay_hit.py")]
        bare = [run([sys.executable, "-c", ""], environment).wall * 1e3 for _ in range(2 * rounds)]
        imports = [float(run(program, environment).output) * 1e3 for _ in range(2 * rounds)]
        hits = [run([*program, uri], environment).wall * 1e3 for uri in all_uris[: 2 * rounds]]
    print(f"import forebay: {' ms, '.join(spread(imports, '{:.1f}'.format))} ms")
    print(f"first hit, whole process: {' ms, '.join(spread(hits, '{:.0f}'.format))} ms")
    print(f"(a Python that does nothing: {' ms, '.join(spread(bare, '{:.0f}'.format))} ms)")
    return [
        Budget.at_most("import forebay", statistics.median(imports), 150, "{:.0f} ms"),
        Budget.at_most("first hit in a new process", statistics.median(hits), 250, "{:.0f} ms"),
    ]
