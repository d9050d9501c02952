"""A terminal of a certain width, in which a command runs as it does for people."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


def in_terminal(command: Sequence[str], environment: dict[str, str], width: int, height: int = 24) -> bytes:
    """Runs a command to its end.

    Returns:
        all that it has written, with what moves the cursor and sets colours.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm-256color"}
    )
    os.close(theirs)
    parts = []
    # A terminal whose last writer has left gives an error on Linux, and nothing elsewhere.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    process.wait(60)
    return b"".join(parts)


def lines_of(output: bytes) -> list[str]:
    """The lines of a command that draws over none of them."""
    return _ESCAPES.sub("", output.decode()).splitlines()
