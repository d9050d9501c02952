"""A process of its own for a job that runs locally, so that it outlives the process that asked for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping

from forebay.new_directories import make_directories
from forebay.volume.files import Files


def resume_detached(
    files: Files, job: str, job_ttl: float, settings: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Starts a process that downloads what is pending of a job.

    It belongs to no terminal, and gets its settings from the environment and the configuration file.

    Args:
        job_ttl: after how many seconds the log of a job is removed.
        settings: variables beside those of this process's environment.

    Returns:
        its process id, and the file that takes its output.
    """
    directory = os.path.join(files.layout().private_dir, "jobs")
    make_directories(directory, 0o700)
    _forget_old(directory, job_ttl)
    log = os.path.join(directory, f"{job}.log")
    with open(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "forebay", "job", job, "--retry"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(settings or {})},
            start_new_session=True,
        )
    return process.pid, log


def _forget_old(directory: str, seconds: float) -> None:
    """Removes the logs of jobs that are no longer remembered either."""
    with os.scandir(directory) as found:
        for item in found:
            with contextlib.suppress(FileNotFoundError):
                if item.name.endswith(".log") and time.time() - item.stat().st_mtime > seconds:
                    os.unlink(item.path)
