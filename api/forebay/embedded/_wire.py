"""Just enough of Redis's protocol for PING and INFO, without importing a client."""

from __future__ import annotations

import errno
import socket


def connect(path: str, timeout_seconds: float) -> socket.socket:
    """A connection to the unix socket at ``path``.

    Raises:
        OSError: no server listens there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_seconds)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def ask(connection: socket.socket, command: str) -> str:
    """The answer to ``command``: the text of a bulk reply, or the line of any other (``-ERR …`` too).

    Raises:
        OSError: the connection broke, or its time-out passed.
    """
    connection.sendall(command.encode() + b"\r\n")
    reply = b""
    while True:
        chunk = connection.recv(65536)
        if not chunk:
            raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
        reply += chunk
        line, end, rest = reply.partition(b"\r\n")
        if end and line[:1] != b"$":
            return line.decode("utf-8", "replace")
        if end and len(rest) >= int(line[1:]) + 2:
            return rest[: int(line[1:])].decode("utf-8", "replace")


def info(connection: socket.socket, section: str) -> dict[str, str]:
    """One section of INFO.

    Raises:
        OSError: as `ask`, or the server answers with an error.
    """
    text = ask(connection, f"INFO {section}")
    if text.startswith("-"):
        raise ConnectionError(text)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def ping(path: str, timeout_seconds: float) -> str:
    """``+PONG``, an error such as ``-LOADING …``, or an empty string where no server answers."""
    try:
        with connect(path, timeout_seconds) as connection:
            return ask(connection, "PING")
    except OSError:
        return ""
