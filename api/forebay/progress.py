"""Progress of a job, for people: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from typing_extensions import Self

from forebay.sizes import human

if TYPE_CHECKING:
    from forebay.jobs import JobStatus

_LINE_SECONDS = 5.0


class Progress:
    """Shows a job's status; give its `show` to `Job.wait`.

    Args:
        stream: where to; stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = 0.0
        self._bar = _Bar(self._stream) if self._stream.isatty() else None

    def show(self, status: JobStatus) -> None:
        """Shows how far a job is."""
        if self._bar is not None:
            self._bar.show(status)
        elif time.monotonic() - self._shown > _LINE_SECONDS and status.state == "running":
            if self._shown:
                print(line(status), file=self._stream, flush=True)
            self._shown = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


class _Bar:
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rest]}"),
            console=Console(file=stream),
        )
        self._progress.start()
        self._task = self._progress.add_task("prefetch", total=None, rest="")

    def show(self, status: JobStatus) -> None:
        ended = status.total - status.pending
        self._progress.update(
            self._task, total=status.total, completed=ended, rest=_rest(status), refresh=True
        )

    def close(self) -> None:
        self._progress.stop()


def line(status: JobStatus) -> str:
    """A job's status in one line."""
    return f"job {status.id}: {status.total - status.pending}/{status.total} samples, {_rest(status)}"


def _rest(status: JobStatus) -> str:
    parts = [human(status.bytes), f"{human(status.rate)}/s"]
    if status.eta_seconds is not None and status.pending:
        parts.append(f"{_clock(status.eta_seconds)} left")
    if status.failed:
        parts.append(f"{status.failed} failed")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def reporter(
    progress: bool | Callable[[JobStatus], object] | None,
) -> tuple[Progress | None, Callable[[JobStatus], object] | None]:
    """What ``progress=`` means: a bar, nothing, the default (a bar on a terminal), or a callback.

    Returns:
        the display to close afterwards, if any, and what to call with each status.
    """
    if callable(progress):
        return None, progress
    if progress or (progress is None and sys.stderr.isatty()):
        display = Progress()
        return display, display.show
    return None, None
