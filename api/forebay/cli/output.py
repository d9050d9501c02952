"""Prints for commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from forebay.cli.streams import write_result
from forebay.config.sizes import span
from forebay.logs import JsonFormatter, clean, with_subject

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON on stdout, for programs.")]


def emit(value: Any, *, one_of_many: bool = False) -> None:
    """Print a JSON document, or one line of many."""
    text = json.dumps(value, ensure_ascii=False, indent=None if one_of_many else 2)
    # Names that are not valid UTF-8 go out as the bytes that they are.
    write_result(text.encode("utf-8", "surrogateescape") + b"\n")


@dataclass
class _Style:
    """The format of stderr."""

    json: bool = False


_style = _Style()


def write_as(format: str) -> None:
    """Set the format of stderr: ``text`` or ``json``."""
    _style.json = format == "json"


def writes_json() -> bool:
    """Whether stderr is JSON, for programs, so that no progress bar may be drawn there."""
    return _style.json


def say(text: str = "", level: int = logging.INFO) -> None:
    """Print a line for people on stderr; as JSON, with its level and the fields of `forebay.logs`."""
    _keep_order()
    _tell(_as_json(level, text) if _style.json else text)


def _as_json(level: int, text: str) -> str:
    return JsonFormatter().format(logging.LogRecord("forebay.cli", level, "", 0, text, None, None))


def complain(text: str) -> None:
    """Print an error."""
    _mark("error:", typer.colors.RED, text)


def warn(text: str) -> None:
    """Print a warning."""
    _mark("warning:", typer.colors.YELLOW, text)


def log_to_stderr(verbose: int) -> None:
    """Show the log of the library on stderr.

    Args:
        verbose: 0 for warnings, 1 for messages, 2 for everything.
    """
    logger = logging.getLogger("forebay")
    logger.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    logging.basicConfig(handlers=[_Handler()], level=logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR if verbose < 2 else logging.INFO)


class _Handler(logging.Handler):
    """Writes to the current ``sys.stderr``, which a progress bar replaces while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        _keep_order()
        text = (
            JsonFormatter().format(record)
            if _style.json
            else clean(f"{record.levelname.lower()}: {with_subject(record)}")
        )
        _tell(text)


def _mark(word: str, color: str, text: str) -> None:
    if _style.json:
        level = logging.ERROR if word == "error:" else logging.WARNING
        _tell(_as_json(level, text))
        return
    shown = typer.style(word, fg=color, bold=True) if sys.stderr.isatty() else word
    _keep_order()
    _tell(f"{shown} {text}")


def _tell(line: str) -> None:
    # What no process can be told ends no command.
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _keep_order() -> None:
    """Flush stdout, so that lines keep their order where both streams go to one file."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stdout.flush()


def put(text: str) -> None:
    """Print a line of the result."""
    write_result(text.encode("utf-8", "surrogateescape") + b"\n")


def columns() -> int | None:
    """The width of the terminal to which results go; ``None`` where they go to a file or program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print rows in columns; on a terminal that is too narrow for them, each row as a list of its values.

    Args:
        right: the titles of the columns that are aligned to the right.
    """
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    room = columns()
    if room is not None and sum(widths) + 2 * (len(widths) - 1) > room:
        _lists(titles, rows)
        return
    for number, row in enumerate((titles, *rows)):
        cells = [
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, titles, strict=True)
        ]
        text = "  ".join(cells).rstrip()
        put(_dim(text) if number == 0 else text)


def _lists(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print each row below the one before, a line for each of its values."""
    width = max(map(len, titles))
    for number, row in enumerate(rows):
        if number:
            put("")
        for title, cell in zip(titles, row, strict=True):
            if cell:
                put(f"{_dim(title.ljust(width))}  {cell}")


def _dim(text: str) -> str:
    return typer.style(text, dim=True) if sys.stdout.isatty() else text


def clock(when: float) -> str:
    """A time of this time zone, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


def ago(when: float) -> str:
    """How long ago a time was, in seconds since the epoch."""
    seconds = time.time() - when
    return "just now" if seconds < 1 else f"{span(seconds)} ago"
