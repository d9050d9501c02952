"""How log lines are written, and which job and sample each of them is about.

Whoever works on a job or a sample says so once; every line that is logged meanwhile bears it, as fields
of its own where lines are JSON. No line holds what a URL may hide: user names, passwords, query strings.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any, Literal

Format = Literal["text", "json"]

# Anything whose text names it: to make the text can wait until a line is written.
job: ContextVar[object | None] = ContextVar("forebay_job", default=None)
sample: ContextVar[object | None] = ContextVar("forebay_sample", default=None)

_LOGIN = re.compile(r"(?<=://)([^\s/@:'\"]*)(:?)[^\s/@'\"]*@")
_QUERY = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]+")
# What these tell of requests, at the most talkative level, has signatures and tokens in it.
_TALKATIVE = ("boto3", "botocore", "google", "s3transfer", "urllib3")


@contextmanager
def about(name: object, variable: ContextVar[object | None] = job) -> Iterator[None]:
    """Lets the lines that are logged meanwhile be about a job, or a sample.

    Args:
        name: the job's id, or the sample's URI.
    """
    token: Token[object | None] = variable.set(name)
    try:
        yield
    finally:
        variable.reset(token)


class Lines(logging.Formatter):
    """``2026-11-22 21:05:01 INFO     [job 4f1e…] message``; other packages' names are told, too."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return clean(f"{when} {record.levelname:<8} {told(record)}{_trace(self, record)}")


class JsonLines(logging.Formatter):
    """One JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        value = {
            "time": f"{when}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
        }
        value |= {name: clean(text) for name, text in _subject(record).items()}
        if record.exc_info:
            value["exception"] = clean(self.formatException(record.exc_info))
        return json.dumps(value, ensure_ascii=False)


def told(record: logging.LogRecord) -> str:
    """A record's message for people, with what it is about, where it does not say so itself."""
    message = record.getMessage()
    missing = [f"{name} {text}" for name, text in _subject(record).items() if text not in message]
    subject = f"[{', '.join(missing)}] " if missing else ""
    name = "" if record.name.startswith("forebay") else f"{record.name}: "
    return f"{subject}{name}{message}"


def clean(text: str) -> str:
    """``text`` without what URLs in it may hide."""
    if "://" not in text:
        return text
    return _QUERY.sub(r"\1?…", _LOGIN.sub(_masked, text))


def _masked(login: re.Match[str]) -> str:
    """A login in the form that `forebay.config.mask_url` gives it, and without the user's name."""
    user, colon = login.groups()
    return f"{'***' if user else ''}{':***' if colon else ''}@"


def formatter(wanted: Format) -> logging.Formatter:
    """What writes lines in a format."""
    return JsonLines() if wanted == "json" else Lines()


def quieten() -> None:
    """Keeps packages from logging requests with their signatures, however much is asked for."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.INFO)


def _subject(record: logging.LogRecord) -> dict[str, str]:
    """The job and the sample of a record: as it was logged with, else those of its thread."""
    found: dict[str, Any] = {
        "job": getattr(record, "job", None) or job.get(),
        "sample": getattr(record, "sample", None) or sample.get(),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return f"\n{formatter.formatException(record.exc_info)}" if record.exc_info else ""
