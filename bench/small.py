"""Many small objects on an empty cache: Forebay beside the others, in alternating runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench.alternate import alternate
from bench.corpus import Corpus
from bench.place import scratch
from bench.process import Run
from bench.report import Budget, print_table, spread
from bench.server import serving
from bench.tools import forebay, python, rclone, s5cmd
from bench.tools.task import Task, Tool

TOOLS = (
    python.boto3,
    s5cmd.s5cmd,
    rclone.rclone,
    python.obstore,
    forebay.local,
    forebay.fleet,
    forebay.command,
    rclone.checking,
    s5cmd.prefix,
)


def measure(
    *,
    objects: int = 5000,
    size: int = 100_000,
    concurrency: int = 16,
    rounds: int = 5,
    directory: Path | None = None,
    only: Sequence[str] = (),
) -> list[Budget]:
    """Runs every tool ``rounds`` times, one after the other, and prints what each took."""
    tools = [tool for tool in TOOLS if not only or any(word in tool.name for word in only)]
    with scratch(2 * objects * size, directory) as place:
        print(f"{objects} objects of {size} bytes from nginx to {place.parent}, {concurrency} at a time,")
        print(f"whole processes, {rounds} alternating rounds; every file is checked after every run")
        corpus = Corpus.make(place / "root", "photos", objects, size)
        warm_up = Corpus.make(place / "root", "warm-up", 256, size)
        with serving(place / "root", place / "nginx", corpus, warm_up) as endpoint:
            task = Task(corpus, warm_up, endpoint, concurrency, place)
            runs = alternate(tools, task, place / "destination", rounds)
    _print(runs, objects)
    return _budgets(runs, objects)


def _print(runs: dict[str, list[Run]], objects: int) -> None:
    rows = []
    for name, done in runs.items():
        rate = spread([objects / one.wall for one in done], "{:,.0f}".format)
        wall = spread([one.wall for one in done], "{:.2f}".format)
        cpu = spread([one.cpu / objects * 1e6 for one in done], "{:,.0f}".format)
        rows.append((name, *rate, *wall, *cpu))
    print()
    head = ("", "objects/s", "min–max", "seconds", "min–max", "CPU µs/object", "min–max")
    print_table(head, rows)


def _budgets(runs: dict[str, list[Run]], objects: int) -> list[Budget]:
    """The budgets for which there are figures. A ratio is the median of the rounds' ratios: two runs of
    the same round had the most similar conditions."""

    def ratio(one: Tool, other: Tool, figure: str) -> float:
        pairs = zip(runs[one.name], runs[other.name], strict=True)
        return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in pairs)

    budgets = []
    for peer, bound in ((rclone.rclone, 1.2), (s5cmd.s5cmd, 2.5), (python.boto3, 5.0)):
        if {peer.name, forebay.local.name} <= runs.keys():
            speed = ratio(peer, forebay.local, "wall")
            budgets.append(Budget.at_least(f"local dispatch / {peer.name}", speed, bound, "{:.2f}x"))
    if {python.obstore.name, forebay.local.name} <= runs.keys():
        cost = ratio(forebay.local, python.obstore, "cpu")
        budgets.append(Budget.at_most("CPU per object / obstore in threads", cost, 1.3, "{:.2f}x"))
    if {forebay.local.name, forebay.fleet.name} <= runs.keys():
        share = ratio(forebay.local, forebay.fleet, "wall")
        budgets.append(Budget.at_least("one worker / local dispatch", share, 0.7, "{:.2f}x"))
    return budgets
