"""Listing one flat prefix: Forebay beside rclone, s5cmd and boto3, in alternating runs of whole processes."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from bench.corpus import Corpus, WrongFilesError
from bench.place import scratch
from bench.process import Run, run
from bench.report import Budget, print_table, spread
from bench.server import serving
from bench.tools import forebay, rclone, s5cmd
from bench.tools.task import PROGRAMS, Task


def _forebay(task: Task, cache_dir: Path) -> Run:
    command = [sys.executable, str(PROGRAMS / "forebay_list.py"), f"s3://{task.corpus.bucket}/"]
    return run(command, forebay.environment(task, cache_dir, "local"))


def _dry_run(task: Task, cache_dir: Path) -> Run:
    command = [str(Path(sys.executable).with_name("forebay")), "prefetch", "--dry-run"]
    with forebay.stopping(cache_dir):
        return run([*command, f"s3://{task.corpus.bucket}/"], forebay.environment(task, cache_dir, "local"))


def _boto3(task: Task, _: Path) -> Run:
    command = [sys.executable, str(PROGRAMS / "boto3_list.py"), task.endpoint, task.corpus.bucket]
    return run(command, task.environment)


TOOLS: dict[str, Callable[[Task, Path], Run]] = {
    "boto3": _boto3,
    "s5cmd ls": s5cmd.listing,
    "rclone lsf --fast-list": rclone.listing,
    "Forebay": _forebay,
    "forebay prefetch --dry-run": _dry_run,
}


def measure(*, keys: int = 60_000, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Runs every tool ``rounds`` times, one after the other, and prints what each took."""
    with scratch(1 << 30, directory) as place:
        print(f"{keys:,} keys in pages of 1,000 from nginx, {rounds} alternating rounds")
        (place / "root").mkdir()
        names = (f"train/{number:09}.jpg" for number in range(keys))
        corpus = Corpus(
            place / "root", "photos", 100_000, {name: f"{at:032x}" for at, name in enumerate(names)}
        )
        with serving(place / "root", place / "nginx", corpus) as endpoint:
            task = Task(corpus, corpus, endpoint, 16, place)
            runs = _alternate(task, rounds)
    rows = []
    for name, done in runs.items():
        rate = spread([keys / one.wall for one in done], "{:,.0f}".format)
        wall = spread([one.wall for one in done], "{:.2f}".format)
        cpu = spread([one.cpu for one in done], "{:.2f}".format)
        rss = spread([one.rss / 1e6 for one in done], "{:.0f}".format)
        rows.append((name, *rate, *wall, *cpu, *rss))
    head = ("", "keys/s", "min–max", "seconds", "min–max", "CPU s", "min–max", "peak MB", "min–max")
    print_table(head, rows)
    pairs = zip(runs["rclone lsf --fast-list"], runs["Forebay"], strict=True)
    ratio = statistics.median(peer.wall / ours.wall for peer, ours in pairs)
    return [Budget.at_least("listing / rclone lsf --fast-list", ratio, 1.0, "{:.2f}x")]


def _alternate(task: Task, rounds: int) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {name: [] for name in TOOLS}
    for _ in range(rounds):
        for name, tool in TOOLS.items():
            cache_dir = task.scratch / "cache"
            done = tool(task, cache_dir)
            shutil.rmtree(cache_dir, ignore_errors=True)
            lines = done.output.count("\n")
            if name != "forebay prefetch --dry-run" and lines != len(task.corpus.md5):
                raise WrongFilesError(f"{name} listed {lines} of {len(task.corpus.md5)} keys")
            runs[name].append(done)
    return runs
