"""Listing one prefix, whole processes; each prints every name."""

from __future__ import annotations

import sys
from collections.abc import Callable

from bench.budgets import Bound
from bench.corpus import Corpus
from bench.place import scratch
from bench.process import FailedError, run
from bench.report import Section
from bench.rounds import Measured
from bench.scale import Scale
from bench.server import serving
from bench.tools import forebay, rclone, s5cmd
from bench.tools.task import Command, Task
from bench.transfers import table

_TOOLS: dict[str, Callable[[Task], Command]] = {
    "rclone lsf --fast-list": rclone.listing,
    "s5cmd ls": s5cmd.listing,
    "Forebay": forebay.listing,
}
BOUNDS = (
    Bound("listing: Forebay / rclone lsf --fast-list", "Forebay", ("rclone lsf --fast-list",), least=1.0),
)


def measure(scale: Scale) -> Section:
    """Lists a bucket that has nothing but names."""
    with scratch(64 << 20, scale.directory) as place:
        names = Corpus.names(place / "root", "names", scale.names)
        (place / "root").mkdir()
        with (
            serving(place / "root", place / "nginx", names) as site,
            forebay.stopping(place / "listing-cache"),
        ):
            task = Task(names, names, site.endpoints["plain"], place)
            found = _rounds(task, scale)
    section = Section("listing", [f"{scale.names:,} keys of 26 bytes, plain HTTP, {scale.rounds} rounds."])
    section.notes += [f"{name}: not measured, {reason}" for name, reason in found.absent.items()]
    head, rows = table(found, scale.names, 0, scale.rounds)
    section.tables.append((("", "keys/s", *head[2:4], "CPU µs/key", *head[5:]), rows))
    section.verdicts += [bound.judge(found.runs) for bound in BOUNDS]
    return section


def _rounds(task: Task, scale: Scale) -> Measured:
    found = Measured()
    for number in range(scale.rounds + 1):
        for name, make in _TOOLS.items():
            if name in found.absent:
                continue
            command = make(task)
            try:
                done = run(command.words, command.environment)
                check(done.output, task.corpus)
            except (FailedError, IncompleteError) as error:
                found.absent[name] = str(error).strip().splitlines()[-1]
                found.runs.pop(name, None)
                print(f"{name} is not measured: {error}", file=sys.stderr)
                continue
            if number:  # the first one warms up
                found.runs.setdefault(name, []).append(done)
    return found


class IncompleteError(Exception):
    """A listing lacks names, or has one twice."""


def check(output: str, corpus: Corpus) -> None:
    """Makes sure that a listing has every key exactly once; a line may have something before the key.

    Raises:
        IncompleteError: it does not.
    """
    prefix = f"s3://{corpus.bucket}/"
    keys = [line.split()[-1].removeprefix(prefix) for line in output.splitlines() if line.strip()]
    if len(keys) != len(corpus.md5) or set(keys) != corpus.md5.keys():
        raise IncompleteError(f"{len(keys)} names were listed, of {len(corpus.md5)}")
