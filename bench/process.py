"""Runs programs as whole processes, and measures what they take."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Run:
    """What one run of a program took.

    Attributes:
        wall: seconds, from before the process is made until it is reaped.
        cpu: seconds of CPU, user and system, of the process and of the children that it waited for.
        rss: the largest resident set of one of these processes, in bytes. Linux counts what the parent
            had at the moment of the fork, so this is an upper bound for programs of less than 40 MB.
        output: what it wrote to stdout.
    """

    wall: float
    cpu: float
    rss: int
    output: str


class FailedError(Exception):
    """A program ended with another exit status than 0; the text has the end of its output."""


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Runs a program to its end.

    Raises:
        FailedError: its exit status is not 0.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env={**os.environ, **environment},
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
        if process.returncode:
            errors.seek(0)
            tail = (text + errors.read().decode(errors="replace"))[-3000:]
            raise FailedError(f"{' '.join(command)} ended with {process.returncode}:\n{tail}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """The CPU that running processes have used so far, in seconds, to about 0.01 s each."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def working_in(directory: str) -> list[psutil.Process]:
    """The processes whose working directory is ``directory``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == directory:
                found.append(process)
        except psutil.Error:
            continue
    return found
