"""One large object: Forebay, which fetches it in parallel ranges, beside curl, rclone and s5cmd."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.alternate import alternate
from bench.corpus import Corpus
from bench.place import scratch
from bench.report import Budget, print_table, spread
from bench.server import serving
from bench.tools import curl, forebay, rclone, s5cmd
from bench.tools.task import Task

TOOLS = (curl.curl, rclone.rclone, s5cmd.s5cmd, forebay.local)
_MEGABYTE = 1e6


def measure(*, size: int = 2_000_000_000, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Runs every tool ``rounds`` times, one after the other, and prints what each took."""
    with scratch(2 * size, directory) as place:
        print(f"one object of {size:,} bytes from nginx to {place.parent}, {rounds} alternating rounds")
        corpus = Corpus.make(place / "root", "photos", 1, size)
        with serving(place / "root", place / "nginx", corpus, md5_etags=False) as endpoint:
            task = Task(corpus, corpus, endpoint, 16, place)
            runs = alternate(TOOLS, task, place / "destination", rounds)
    rows = []
    for name, done in runs.items():
        rate = spread([size / _MEGABYTE / one.wall for one in done], "{:,.0f}".format)
        cpu = spread([one.cpu for one in done], "{:.2f}".format)
        rss = spread([one.rss / _MEGABYTE for one in done], "{:.0f}".format)
        rows.append((name, *rate, *cpu, *rss))
    print_table(("", "MB/s", "min–max", "CPU s", "min–max", "peak MB", "min–max"), rows)
    ours, others = runs.pop(forebay.local.name), list(runs.values())
    share = statistics.median(
        min(peer.wall for peer in peers) / mine.wall for mine, *peers in zip(ours, *others, strict=True)
    )
    memory = max(one.rss for one in ours) / _MEGABYTE
    return [
        Budget.at_least("one large object / the best of the others", share, 0.9, "{:.2f}x"),
        Budget.at_most("its memory", memory, 200, "{:.0f} MB"),
    ]
