"""curl: one object, without a signature."""

from __future__ import annotations

from pathlib import Path

from bench.process import Run, run
from bench.tools.task import Task, Tool


def _fetch(task: Task, destination: Path) -> Run:
    (key,) = task.corpus.md5
    destination.mkdir()
    url = f"{task.endpoint}/{task.corpus.bucket}/{key}"
    return run(["curl", "--silent", "--fail", "--output", str(destination / key), url], {})


curl = Tool("curl", _fetch)
