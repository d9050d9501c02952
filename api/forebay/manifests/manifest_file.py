"""Opens the file of a manifest: a local one, an object, or standard input."""

from __future__ import annotations

import builtins
import io
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Any, BinaryIO

from forebay.config.freshness import ALWAYS
from forebay.engine import Engine
from forebay.errors import ManifestError, UriError
from forebay.fetch.outcome import SampleOutcome
from forebay.manifests.prefixes import is_prefix
from forebay.uri import is_local, local_file, redact, shown

STDIN = "-"
HEAD_BYTES = 64 << 10

OpenRemote = Callable[[str], BinaryIO]


def open_current(engine: Engine, uri: str) -> BinaryIO:
    """Opens an object by way of the cache; what is cached of it is used only if it has not changed.

    Raises:
        ForebayError: it cannot be fetched.
    """
    outcomes: list[SampleOutcome] = []
    engine.open_fetcher().fetch([(0, uri)], outcomes.extend, fresh=ALWAYS)
    if outcomes[0].error is not None:
        raise outcomes[0].error
    while True:
        path = engine.local_path(uri)
        try:
            return builtins.open(path, "rb")
        except FileNotFoundError:
            continue  # It was evicted between the two calls.


class ManifestFile:
    """The open file of a manifest; a context manager.

    Args:
        target: a local path, a remote URI, or ``-``.
        open_remote: opens an object.

    Attributes:
        name: for messages, without secrets.
        file_name: the last part of its path; empty for standard input.
        head: its first bytes.
        file: all its bytes.

    Raises:
        ManifestError: it cannot be read.
        ForebayError: the object cannot be fetched.
    """

    def __init__(self, target: str, open_remote: OpenRemote) -> None:
        self.is_remote = False
        self._opened: BinaryIO | None = None
        if target == STDIN:
            self.name, self.file_name = "standard input", ""
            # There is none in a daemon, and none of bytes in a notebook.
            given: BinaryIO | None = getattr(sys.stdin, "buffer", None)
            if given is None:
                raise ManifestError("standard input cannot be read", file=self.name)
            self.head = given.read(HEAD_BYTES)
            self.file: BinaryIO = io.BufferedReader(_Behind(self.head, given))
            return
        self.is_remote = not is_local(target)
        self.name = redact(target) if self.is_remote else target
        if self.is_remote and is_prefix(target):
            raise UriError(f"{self.name} is a prefix, and no manifest", uri=self.name)
        path = redact(target).partition("?")[0] if target[:4].lower() == "http" else target
        self.file_name = path.rpartition("/")[2]
        try:
            self.file = self._opened = (
                open_remote(target) if self.is_remote else builtins.open(local_file(target), "rb")  # noqa: SIM115
            )
            self.head = self.file.read(HEAD_BYTES)
        except FileNotFoundError as error:
            if self.is_remote:
                raise
            raise ManifestError(f"the manifest {target} does not exist", file=target) from error
        except OSError as error:
            if self.is_remote:
                raise
            reason = f"the manifest {target} cannot be read: {error.strerror}"
            raise ManifestError(reason, file=target) from None
        except ValueError:
            if self.is_remote:
                raise
            raise ManifestError(f"no file can be named {shown(target)}", file=target) from None
        if self.file.seekable():
            self.file.seek(0)
        else:
            # A pipe that has a name.
            self.file = io.BufferedReader(_Behind(self.head, self.file))

    def __enter__(self) -> ManifestFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    def positioned(self) -> BinaryIO:
        """The file as one that can be positioned: a copy on the disk of one that cannot."""
        if self._opened is not None and self._opened.seekable():
            return self._opened
        copy = tempfile.TemporaryFile(prefix="forebay-")  # noqa: SIM115
        shutil.copyfileobj(self.file, copy)
        copy.seek(0)
        return copy


class _Behind(io.RawIOBase):
    """Some bytes that have been read already, and the rest of their file."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads into a buffer; returns how many bytes, 0 at the end."""
        data = self._head[: len(buffer)] if self._head else self._rest.read(len(buffer))
        self._head = self._head[len(data) :]
        buffer[: len(data)] = data
        return len(data)


def no_remote(uri: str) -> BinaryIO:
    """Refuses an object, where there is no cache to read it with.

    Raises:
        ManifestError: always.
    """
    raise ManifestError(f"the manifest {redact(uri)} is no local file", file=redact(uri))
