"""Programs of a few lines, as people write them: boto3 and obstore in threads."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.process import Run, run
from bench.tools.task import PROGRAMS, Task, Tool


def _program(name: str, *options: str) -> Tool:
    def fetch(task: Task, destination: Path) -> Run:
        keys = task.corpus.write_list(task.scratch / "keys", "{key}")
        destination.mkdir()
        program = [sys.executable, str(PROGRAMS / f"{name}.py"), task.corpus.bucket, str(keys)]
        command = [*program, str(destination), str(task.concurrency), *options]
        return run(command, task.environment)

    return Tool(
        " ".join(["boto3 get_object" if name.startswith("boto3") else "obstore", "in threads"]), fetch
    )


boto3 = _program("boto3_threads")
obstore = _program("obstore_threads")
