"""Prints for commands: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from forebay.logs import JsonFormatter, clean, with_subject

Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON on stdout, for programs.")]


def emit(value: Any, *, one_of_many: bool = False) -> None:
    """Print a JSON document, or one line of many."""
    text = json.dumps(value, ensure_ascii=False, indent=None if one_of_many else 2)
    # Names that are not valid UTF-8 go out as the bytes that they are.
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")


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
    print(_as_json(level, text) if _style.json else text, file=sys.stderr, flush=True)


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
        print(text, file=sys.stderr, flush=True)


def _mark(word: str, color: str, text: str) -> None:
    if _style.json:
        level = logging.ERROR if word == "error:" else logging.WARNING
        print(_as_json(level, text), file=sys.stderr, flush=True)
        return
    shown = typer.style(word, fg=color, bold=True) if sys.stderr.isatty() else word
    _keep_order()
    print(f"{shown} {text}", file=sys.stderr, flush=True)


def _keep_order() -> None:
    """Flush stdout, so that lines keep their order where both streams go to one file."""
    with contextlib.suppress(OSError, AttributeError):
        sys.stdout.flush()


def put(text: str) -> None:
    """Print a line of the result."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Print rows in columns.

    Args:
        right: the titles of the columns that are aligned to the right.
    """
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]
    for number, row in enumerate((titles, *rows)):
        cells = [
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, titles, strict=True)
        ]
        text = "  ".join(cells).rstrip()
        put(typer.style(text, dim=True) if number == 0 and sys.stdout.isatty() else text)


def count(number: int, noun: str) -> str:
    """``1 sample`` or ``2,000 samples``."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def span(seconds: float) -> str:
    """A duration: ``0.4 s``, ``12 s``, ``3 min``, ``5 h``, ``2 days``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, name, max_count in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if seconds / size < max_count:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def clock(when: float) -> str:
    """A time of this time zone, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


def ago(when: float) -> str:
    """How long ago a time was, in seconds since the epoch."""
    seconds = time.time() - when
    return "just now" if seconds < 1 else f"{span(seconds)} ago"
