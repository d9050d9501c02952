"""rclone: a list of keys, compared with a listing of the bucket, so that no object needs a HEAD."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.process import Run, run
from bench.tools.task import Task, Tool

_CONFIGURATION = """
[bench]
type = s3
provider = Other
env_auth = true
force_path_style = true
region = us-east-1
endpoint = {endpoint}
"""


def _command(task: Task) -> list[str]:
    configuration = task.scratch / "rclone.conf"
    configuration.write_text(_CONFIGURATION.format(endpoint=task.endpoint))
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent)) or "rclone"
    return [binary, "--config", str(configuration)]


def listing(task: Task, _: Path) -> Run:
    """Prints every key of the bucket."""
    command = [*_command(task), "lsf", "--fast-list", "--recursive", "--files-only"]
    return run([*command, f"bench:{task.corpus.bucket}"], task.environment)


def _rclone(name: str, *flags: str) -> Tool:
    def fetch(task: Task, destination: Path) -> Run:
        keys = task.corpus.write_list(task.scratch / "keys", "{key}")
        command = [*_command(task), "copy", f"bench:{task.corpus.bucket}"]
        command += [str(destination), "--files-from-raw", str(keys), "--no-check-dest"]
        return run([*command, "--transfers", str(task.concurrency), *flags], task.environment)

    return Tool(name, fetch)


# It compares the MD5 of each file with the ETag, unless told otherwise; the others look at the size only.
rclone = _rclone("rclone", "--use-server-modtime", "--ignore-checksum")
checking = _rclone("rclone, checking MD5", "--use-server-modtime")
