"""One helper, as the process that starts it has it: its input, its log lines, and its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

from forebay import forks, logs
from forebay.config import MediaCacheConfig

if TYPE_CHECKING:
    import subprocess

# The modules of this process, wherever they are from; nothing else of its environment is looked at.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); from forebay.helper import main; main()"
)
_END_SECONDS = 5.0
_JOIN_SECONDS = 0.1


class HelperProcess:
    """A helper that is started, and gets its task later.

    Args:
        config: the settings of its part.
        example: a URI of the job, whose source it prepares for.

    Raises:
        OSError: it cannot be started.
        TypeError, ValueError: the settings have what another process cannot have.
    """

    def __init__(self, config: MediaCacheConfig, example: str) -> None:
        settings = {
            "settings": config.model_dump(),
            "level": logging.getLogger("forebay").getEffectiveLevel(),
            "parent": os.getpid(),
            "example": example,
        }
        # Python itself passes over what is no text.
        path = [entry for entry in sys.path if isinstance(entry, str) and os.path.isabs(entry)]
        line = f"{json.dumps(settings)}\n".encode()
        self._process = _started([sys.executable, "-I", "-c", _PROGRAM, json.dumps(path)])
        self._reader: threading.Thread | None = None
        try:
            self._write(line)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Its number in the system."""
        return self._process.pid

    def begin(self, task: Mapping[str, Any]) -> None:
        """Tells it what to download; from here on, what it logs is logged here.

        Raises:
            OSError: it has ended.
        """
        self._write(f"{json.dumps(task)}\n".encode())
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=log_lines,
            args=(self._process.stdout, task["job"]),
            name=f"forebay-helper-{task['number']}",
            daemon=True,
        )
        self._reader.start()

    def wait(self, seconds: float) -> bool:
        """Waits for its end for at most ``seconds``; returns whether it has ended."""
        with contextlib.suppress(Exception):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def tell_to_end(self) -> None:
        """Has it give up what it has in flight."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            # A word, as a child that was forked meanwhile keeps the pipe open.
            self._write(b"end\n")
            self._process.stdin.close()

    def close(self) -> None:
        """Waits for its end, after it was told, and kills it if that does not come."""
        if not self.wait(_END_SECONDS):
            self.kill()
        if self._reader is not None:
            self._reader.join(_JOIN_SECONDS)

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        # A child that was forked between the two would write it once more.
        with forks.setting_up():
            self._process.stdin.write(line)
            self._process.stdin.flush()


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    """A process that Ctrl-C does not end: it goes to both, and this one decides what becomes of the other."""
    with forks.setting_up():
        import subprocess

    # The other inherits it from its first moment on: Python would print a traceback while it starts.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def log_lines(lines: IO[bytes], job: str) -> None:
    """Logs what a helper logs, where that is logged here."""
    logs.job.set(job)
    with lines:
        for line in lines:
            # Whatever else writes to its standard output, such as a `sitecustomize`.
            with contextlib.suppress(ValueError, TypeError, LookupError):
                fields: dict[str, Any] = json.loads(line)
                logger = logging.getLogger(fields["name"])
                if logger.isEnabledFor(fields["levelno"]):
                    logger.handle(logging.makeLogRecord(fields))
