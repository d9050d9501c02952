"""One place among the workers of a supervisor: its name stays, its processes come and go."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from forebay.backoff import Backoff
from forebay_worker.line import STOP_SECONDS, VARIABLE

NEVER = float("inf")
FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
# A worker that has worked for so long is started again after the first pause.
STEADY_SECONDS = 60.0


def _backoff() -> Backoff:
    return Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, factor=2.0)


@dataclass(eq=False)
class Place:
    """One place. Times are seconds of `time.monotonic`.

    Attributes:
        name: of the worker, without ``@host``.
        process: ``None`` while none runs.
        line: on which the process is heard (`forebay_worker.line`).
        ready: whether the process has said so.
        started: when the last process was started.
        start_at: when the next process is started.
        kill_at: when the process that was told to end is killed; infinite while it was not told.
        failed_starts: processes in a row that ended before they were ready.
    """

    name: str
    process: subprocess.Popen[bytes] | None = None
    line: Connection | None = None
    ready: bool = False
    started: float = 0.0
    start_at: float = 0.0
    kill_at: float = NEVER
    failed_starts: int = 0
    _pauses: Backoff = field(default_factory=_backoff)

    @property
    def told(self) -> bool:
        """Whether its process was told to end."""
        return self.kill_at != NEVER

    @property
    def serves(self) -> bool:
        """Whether its process works, and goes on to."""
        return self.ready and not self.told

    def start(self, command: Sequence[str]) -> None:
        """Starts a process.

        Raises:
            OSError: it cannot be started.
        """
        self.started, self.kill_at = time.monotonic(), NEVER
        ours, theirs = Pipe()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            self.process = subprocess.Popen(
                [*command, "--name", self.name],
                stdin=subprocess.DEVNULL,
                env={**os.environ, VARIABLE: f"{theirs.fileno()}:{os.getpid()}"},
                pass_fds=[theirs.fileno()],
                # So that Ctrl-C reaches only the supervisor.
                start_new_session=True,
            )
            undo.pop_all()
        self.line = ours

    def tell_to_end(self) -> None:
        """Sends SIGTERM, once only: the second one would cut what the worker is about to finish."""
        if self.process is not None and not self.told:
            self.kill_at = time.monotonic() + STOP_SECONDS
            # Not `send_signal`, which might reap it.
            os.kill(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kills the process with the children that it may have, also when it has ended itself."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def hang_up(self) -> None:
        """Closes the line."""
        if self.line is not None:
            self.line.close()
            self.line = None

    def pause(self) -> float:
        """Sets when the next process is started, and returns in how many seconds that is."""
        if time.monotonic() - self.started >= STEADY_SECONDS:
            self._pauses.reset()
        pause = self._pauses.next()
        self.start_at = time.monotonic() + pause
        return pause
