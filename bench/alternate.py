"""Runs of several tools in turn, so that whatever else the machine does hits all of them alike."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.process import Run
from bench.tools.task import Task, Tool


def alternate(tools: Sequence[Tool], task: Task, destination: Path, rounds: int) -> dict[str, list[Run]]:
    """Runs every tool once in each round, and checks every file that it wrote.

    Returns:
        the runs of each tool, by its name, in the order of the rounds.
    """
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    for number in range(rounds):
        print(f"round {number + 1}:", end="", file=sys.stderr, flush=True)
        for tool in tools:
            done = tool.run(task, destination)
            task.corpus.check(tool.files(task, destination))
            shutil.rmtree(destination)
            runs[tool.name].append(done)
            print(f" {tool.name} {done.wall:.2f} s", end=";", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    return runs
