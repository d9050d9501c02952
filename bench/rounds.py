"""Runs of several tools in turn, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.corpus import WrongFilesError
from bench.process import FailedError, Run
from bench.tools.task import Task, Tool


@dataclass(frozen=True)
class Row:
    """A tool in a table.

    Attributes:
        quick: whether it is in a quick run, too.
        rounds: at most so many; for slow ones that no budget speaks of.
    """

    tool: Tool
    quick: bool = False
    rounds: int | None = None


@dataclass
class Measured:
    """What the rounds found.

    Attributes:
        runs: of each tool, by its name, in the order of the rounds.
        absent: why a tool is not among them.
    """

    runs: dict[str, list[Run]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def alternate(rows: Sequence[Row], warm_up: Task, task: Task, destination: Path, rounds: int) -> Measured:
    """Runs every tool once on a few other objects, and then once in each round on those that are measured.

    Every file is checked after every run. A tool that fails is not measured any more; the others are.
    """
    found = Measured()
    for row in rows:
        reason = row.tool.missing() or _attempt(row.tool, warm_up, destination)[1]
        if reason:
            _drop(found, row.tool.name, reason)
    for number in range(rounds):
        _say(f"round {number + 1}:")
        for row in rows:
            name = row.tool.name
            if name in found.absent or number >= (row.rounds or rounds):
                continue
            done, reason = _attempt(row.tool, task, destination)
            if done is None:
                _drop(found, name, reason)
            else:
                found.runs.setdefault(name, []).append(done)
                _say(f" {name} {done.wall:.2f} s;")
        _say("\n")
    return found


def _attempt(tool: Tool, task: Task, destination: Path) -> tuple[Run | None, str]:
    try:
        done = tool.run(task, destination)
        task.corpus.check(tool.files(task, destination))
    except (FailedError, WrongFilesError, OSError) as error:
        return None, str(error)
    else:
        return done, ""
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(destination)


def _drop(found: Measured, name: str, reason: str) -> None:
    found.runs.pop(name, None)
    found.absent[name] = reason.strip().splitlines()[-1]
    _say(f"\n{name} is not measured: {reason}\n")


def _say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)
