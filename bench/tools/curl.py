"""curl: one object, without a signature."""

from __future__ import annotations

from pathlib import Path

from bench.tools.task import Command, Task, Tool


def _fetch(task: Task, destination: Path) -> Command:
    key = next(iter(task.corpus.md5))
    destination.mkdir()
    words = ["curl", "--silent", "--fail", "--output", str(destination / key)]
    if task.endpoint.bundle is not None:
        words += ["--cacert", str(task.endpoint.bundle)]
    return Command([*words, f"{task.endpoint.url}/{task.corpus.bucket}/{key}"])


curl = Tool("curl", _fetch)
