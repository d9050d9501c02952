"""Progress of a job, for people: a bar on a terminal or in a notebook, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TextIO

from typing_extensions import Self

from forebay import forks
from forebay.backoff import Backoff
from forebay.config.sizes import human
from forebay.jobs.notebook import NotebookBar, draws_over, in_notebook
from forebay.jobs.status import JobStatus

# Lines come every five seconds at first, and ever more rarely later, so that a log stays readable.
_LINE_SECONDS = (5.0, 60.0)
_WINDOW_SECONDS = 10.0
# What stands beside the bar: 1,234/2,000 120.5MB  12.3MB/s  1:02 left.
_TEXT_WIDTH = 46

ProgressOption = bool | Callable[[JobStatus], object] | None
"""True or false for a bar, ``None`` for one on a terminal or in a notebook, or a function of `JobStatus`."""


class Progress:
    """Shows a job's status; give its `show` to `Job.wait`.

    Args:
        stream: where to; stderr by default.
        transient: whether the bar disappears at the end.
        name: what is shown; by default the job.
        tell: what prints a line; then there is no bar.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        transient: bool = False,
        name: str | None = None,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self._name = name
        self._stream = stream or sys.stderr
        self._pace = Pace()
        self._shown = time.monotonic()
        self._backoff = Backoff(*_LINE_SECONDS)
        self._pause = self._backoff.next()
        self._tell = tell or self._print
        self._bar = self._new_bar(transient) if tell is None else None

    def _new_bar(self, transient: bool) -> _Bar | NotebookBar | None:
        if draws_over(self._stream):
            return _Bar(self._stream, transient)
        # A stream of the caller's own, a file for instance, is no part of the notebook.
        if self._stream is sys.stderr and in_notebook():
            return NotebookBar(lambda status: line(status, self._name))
        return None

    def show(self, status: JobStatus) -> None:
        """Shows how far a job is."""
        status = self._pace.measure(status)
        if self._bar is not None:
            self._bar.show(status)
        elif status.state == "running" and time.monotonic() - self._shown > self._pause:
            self._tell(line(status, self._name))
            self._shown = time.monotonic()
            self._pause = self._backoff.next()

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class Pace:
    """How fast a job is right now, rather than since it was created, which may be long ago."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def measure(self, status: JobStatus, now: float | None = None) -> JobStatus:
        """The status with rates and an estimate that come from the last seconds."""
        now = time.monotonic() if now is None else now
        ended = status.total - status.pending
        self._seen.append((now, ended, status.bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _WINDOW_SECONDS:
            self._seen.popleft()
        since, ended_before, bytes_before = self._seen[0]
        if now <= since:
            return replace(status, rate=0.0, samples_per_second=0.0, eta_seconds=None)
        pace = (ended - ended_before) / (now - since)
        is_known = status.state == "running" and not status.listing
        return replace(
            status,
            rate=(status.bytes - bytes_before) / (now - since),
            samples_per_second=pace,
            eta_seconds=status.pending / pace if pace and is_known else None,
        )


class _Bar:
    def __init__(self, stream: TextIO, transient: bool) -> None:
        # Imported here: only a bar on a terminal needs it.
        with forks.setting_up():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

        console = Console(file=stream)
        # The text comes first where there is not room for both.
        width = max(4, min(24, console.width - _TEXT_WIDTH))
        self._progress = RichProgress(
            BarColumn(bar_width=width, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[count]}"),
            TextColumn("{task.fields[rest]}", style="dim"),
            TextColumn("{task.fields[failed]}", style="red"),
            console=console,
            transient=transient,
            # What a command prints on stdout meanwhile is its result.
            redirect_stdout=False,
        )
        self._progress.start()
        self._task = self._progress.add_task("", total=None, count="", rest="", failed="")

    def show(self, status: JobStatus) -> None:
        ended = status.total - status.pending
        self._progress.update(
            self._task,
            total=status.total,
            completed=ended,
            count=f"{ended:,}/{status.total_shown}",
            rest="  ".join(_rest(status)),
            failed=_failed(status),
        )

    def close(self) -> None:
        self._progress.stop()


def line(status: JobStatus, name: str | None = None) -> str:
    """A job's status in one line, which begins with ``name`` or the job's; a loop has neither."""
    noun = "sample" if status.total_shown == "1" else "samples"
    done = f"{status.total - status.pending:,}/{status.total_shown} {noun}"
    failed = [_failed(status)] if status.failed else []
    whose = name or (status.id and f"job {status.id}")
    return f"{whose and f'{whose}: '}{', '.join([done, *_rest(status), *failed])}"


def _rest(status: JobStatus) -> list[str]:
    parts = [human(status.bytes), f"{human(status.rate)}/s"]
    if status.eta_seconds is not None and status.pending:
        parts.append(f"{_clock(status.eta_seconds)} left")
    return parts


def _failed(status: JobStatus) -> str:
    return f"{status.failed:,} failed" if status.failed else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def reporter(
    progress: ProgressOption,
) -> Iterator[Callable[[JobStatus], object] | None]:
    """Shows progress as ``progress=`` asks for.

    Yields:
        a function to call with each status; ``None`` where nothing is to be shown.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and (draws_over(sys.stderr) or in_notebook())):
        with Progress() as display:
            yield display.show
    else:
        yield None
