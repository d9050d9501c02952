"""The server as a child process of the supervisor, and the signals that the supervisor handles."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable

from forebay.embedded._settings import CONFIG

MAX_STOP_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


class Signals:
    """Waits for a signal or a time-out. After SIGTERM ``stopping`` is true."""

    def __init__(self) -> None:
        self.stopping = False
        self._read, write = os.pipe()
        for end in (self._read, write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        # The signals that the starter had blocked are inherited, and the server would inherit them, too.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def wait(self, seconds: float) -> None:
        if select.select([self._read], [], [], seconds)[0]:
            os.read(self._read, 4096)

    def _stop(self, *_: object) -> None:
        self.stopping = True


class ServerProcess:
    """One run of the server's binary in the working directory."""

    def __init__(self, binary: str) -> None:
        self.exit_status: int | None = None
        supervisor, die_with_parent = os.getpid(), _death_signal()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                die_with_parent()
                if os.getppid() == supervisor:
                    os.execv(binary, ["valkey-server", CONFIG])
            except BaseException as error:
                os.write(2, f"{binary} cannot be run: {error}\n".encode())
            finally:
                os._exit(127)

    def runs(self) -> bool:
        """Whether the process runs; if it has ended, ``exit_status`` is set (negative for a signal)."""
        if self.exit_status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_status = os.waitstatus_to_exitcode(status)
        return self.exit_status is None

    @property
    def failed(self) -> bool:
        """Whether it ended by itself and in error, not by a signal or because it was told to."""
        return self.exit_status is not None and self.exit_status > 0

    def kill(self) -> None:
        """Ends the server without giving it time to write."""
        while self.runs():
            os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.001)

    def stop(self) -> None:
        """Ends the server, which first writes and syncs its data."""
        deadline = time.monotonic() + MAX_STOP_SECONDS
        if self.runs():
            os.kill(self.pid, signal.SIGTERM)
        while self.runs():
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.005)


def _death_signal() -> Callable[[], object]:
    """A function for the child to call, so that the kernel stops it when its supervisor is killed (Linux)."""
    if sys.platform != "linux":
        return lambda: None
    import ctypes  # imported here: it takes 20 ms, and only Linux needs it

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
