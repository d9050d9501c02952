"""Runs programs as whole processes, and measures what they take."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.02


@dataclass(frozen=True)
class Run:
    """What one run of a program took.

    Attributes:
        wall: seconds, from before the process is made until it is reaped.
        cpu: seconds of CPU, user and system, of the process and of the children that it waited for.
        rss: the most resident memory of the process and its descendants together, in bytes: looked at 50
            times a second, and never less than the kernel's own peak of any one of them.
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
        memory = _Memory(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            wall = time.perf_counter() - start
            memory.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
        if process.returncode:
            errors.seek(0)
            tail = (text[-3000:] + errors.read().decode(errors="replace"))[-3000:]
            raise FailedError(f"{' '.join(command)[:300]} ended with {process.returncode}:\n{tail}")
    # Of a process that ended before it was looked at, the kernel knows the peak; it counts what this
    # process had at the moment of the fork, too.
    peak = memory.peak or usage.ru_maxrss * 1024
    return Run(wall, usage.ru_utime + usage.ru_stime, peak, text)


class _Memory:
    """Watches the memory of a process and its descendants, in a thread."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(pid,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self, pid: int) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            found = [status_bytes(each) for each in tree(pid)]
            together, alone = sum(now for now, _ in found), max((peak for _, peak in found), default=0)
            self.peak = max(self.peak, together, alone)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        try:
            for thread in os.listdir(f"/proc/{each}/task"):
                children = Path(f"/proc/{each}/task/{thread}/children").read_text().split()
                found += map(int, children)
        except OSError:
            continue
    return found


def status_bytes(pid: int) -> tuple[int, int]:
    """The resident memory of a process, now and at most so far; zeros of one that is gone."""
    try:
        return parse_status(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0, 0


def parse_status(text: str) -> tuple[int, int]:
    """VmRSS and VmHWM in bytes, from the text of ``/proc/PID/status``; a zombie has neither."""
    sizes = {"VmRSS": 0, "VmHWM": 0}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in sizes:
            sizes[name] = int(value.split()[0]) * 1024
    return sizes["VmRSS"], sizes["VmHWM"]


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
