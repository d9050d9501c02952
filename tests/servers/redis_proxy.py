"""A proxy in front of a Redis: counts its replies, cuts connections at the n-th, and answers in its place.

Each connection passes one command and its reply at a time, so that what is cut, or refused, is exact.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import BinaryIO

from typing_extensions import Self


class RedisProxy:
    """Listens on a free port of 127.0.0.1 until it is closed.

    Args:
        port: of the Redis.

    Attributes:
        replies: how many have been passed on since the last `reset`.
        refused: how many commands were answered in the place of Redis.
    """

    def __init__(self, port: int) -> None:
        self._upstream = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        self.reset()
        threading.Thread(target=self._accept, name="redis-proxy", daemon=True).start()

    def reset(self) -> None:
        """Passes everything on again, and counts from zero."""
        with self._lock:
            self.replies = self.refused = 0
            self._cut_at, self._down, self._stays_down = 0, False, False
            self._answers: dict[bytes, bytes] = {}

    def cut_at(self, reply: int, *, stays_down: bool) -> None:
        """Cuts all connections in the place of a reply, from 1: its command has been carried out.

        Args:
            stays_down: whether Redis cannot be reached from then on.
        """
        self.reset()
        with self._lock:
            self._cut_at, self._stays_down = reply, stays_down

    @property
    def has_cut(self) -> bool:
        """Whether it has come to that reply."""
        return self._cut_at > 0 and self.replies >= self._cut_at

    def answer(self, command: str, reply: str) -> None:
        """Answers a command (or each, for ``*``) in the place of Redis, ``-ERR no`` for instance."""
        with self._lock:
            self._answers[command.upper().encode()] = reply.encode() + b"\r\n"

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._down:
                client.close()
            else:
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._upstream)
        except OSError:
            client.close()
            return
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections |= {client, server}
        try:
            with client, server, contextlib.suppress(OSError, EOFError, ValueError):
                commands, replies = client.makefile("rb"), server.makefile("rb")
                while self._exchange(commands, replies, client, server):
                    pass
        finally:
            with self._lock:
                self._connections -= {client, server}

    def _exchange(
        self, commands: BinaryIO, replies: BinaryIO, client: socket.socket, server: socket.socket
    ) -> bool:
        command = _read(commands)
        name = command.split(b"\r\n", 3)[2].upper()
        with self._lock:
            answer = self._answers.get(name) or self._answers.get(b"*")
            self.refused += answer is not None
        if answer is not None:
            client.sendall(answer)
            return True
        server.sendall(command)
        if b"SUBSCRIBE" in name:
            threading.Thread(target=_pump, args=(commands, server), daemon=True).start()
            _pump(replies, client)
            return False
        reply = _read(replies)
        with self._lock:
            self.replies += 1
            cut = self.replies == self._cut_at
            self._down = self._down or (cut and self._stays_down)
        if cut:
            self._cut()
            return False
        client.sendall(reply)
        return True

    def _cut(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for one in connections:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _read(stream: BinaryIO) -> bytes:
    """One value of the protocol, with everything in it."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, rest = line[:1], line[1:-2]
    if kind in b"$=!" and int(rest) >= 0:
        body = stream.read(int(rest) + 2)
        if len(body) != int(rest) + 2:
            raise EOFError
        return line + body
    if kind in b"*~>%|":
        count = int(rest) * (2 if kind in b"%|" else 1) + (kind == b"|")
        return line + b"".join(_read(stream) for _ in range(count))
    return line


def _pump(source: BinaryIO, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while piece := source.read1(1 << 16):  # type: ignore[attr-defined]
            target.sendall(piece)
