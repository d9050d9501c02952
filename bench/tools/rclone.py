"""rclone: a list of keys, one object, and a listing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.tools.task import Command, Task, Tool

CONFIGURATION = """
[bench]
type = s3
provider = Other
env_auth = true
force_path_style = true
region = us-east-1
endpoint = {endpoint}
"""


def _command(task: Task, *words: str) -> Command:
    configuration = task.scratch / "rclone.conf"
    configuration.write_text(CONFIGURATION.format(endpoint=task.endpoint.url))
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    flags = ["--config", str(configuration)]
    if task.endpoint.bundle is not None:
        flags += ["--ca-cert", str(task.endpoint.bundle)]
    return Command([binary, *flags, *words], task.environment)


def _list(name: str, *flags: str) -> Tool:
    def fetch(task: Task, destination: Path) -> Command:
        keys = task.corpus.write_list(task.scratch / "keys", "{key}")
        copy = ["copy", f"bench:{task.corpus.bucket}", str(destination), "--files-from-raw", str(keys)]
        return _command(task, *copy, *flags)

    return Tool(name, fetch)


def _one(task: Task, destination: Path) -> Command:
    key = next(iter(task.corpus.md5))
    return _command(task, "copyto", f"bench:{task.corpus.bucket}/{key}", str(destination / key))


def listing(task: Task) -> Command:
    """The command that prints the keys of the bucket."""
    return _command(task, "lsf", "--fast-list", "--recursive", "--files-only", f"bench:{task.corpus.bucket}")


# It compares the MD5 of each file with the ETag, unless told otherwise; the others look at the size only.
_BEST = ("--no-check-dest", "--use-server-modtime", "--ignore-checksum")
defaults = _list("rclone, defaults")
sixty_four = _list("rclone, 64 transfers", "--transfers", "64")
best_16 = _list("rclone at its best, 16 transfers", *_BEST, "--transfers", "16")
best_64 = _list("rclone at its best, 64 transfers", *_BEST, "--transfers", "64")
one = Tool("rclone copyto", _one)
