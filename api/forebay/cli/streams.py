"""The standard streams of a command: closed ones, full ones, and those that know ASCII only."""

from __future__ import annotations

import os
import sys


class LostOutputError(Exception):
    """The result of a command cannot be written."""


def mend_streams() -> None:
    """Puts the null device where a standard stream is closed, and escapes text that a stream cannot write.

    A closed descriptor would be taken by the next file or connection, into which messages would go then.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is given, so this one.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if getattr(sys.stdout, "errors", "") == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def write_result(data: bytes) -> None:
    """Writes to stdout.

    Raises:
        BrokenPipeError: its reader has closed it.
        LostOutputError: it cannot be written.
    """
    try:
        sys.stdout.buffer.write(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LostOutputError(error.strerror) from None


def flush_result() -> None:
    """Writes what is still to be written to stdout.

    Raises:
        BrokenPipeError, LostOutputError: as `write_result`.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LostOutputError(error.strerror) from None


def give_up_stdout() -> None:
    """Drops what is still to be written to stdout, and whatever follows."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
