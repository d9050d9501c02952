"""Formats log lines, and adds the job and the sample that each is about.

Code that works on a job or a sample says so once, with `about`; every line that is logged meanwhile names
it, in JSON as fields of its own. URLs are written without user names, passwords and query strings.
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

LogFormat = Literal["text", "json"]

# Any object whose `str` is the name, so that the text is made only when a line is written.
job: ContextVar[object | None] = ContextVar("forebay_job", default=None)
sample: ContextVar[object | None] = ContextVar("forebay_sample", default=None)

_LOGIN = re.compile(r"(?<=://)([^\s/@:'\"]*)(:?)[^\s/@'\"]*@")
_QUERY = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]+")
_SIGNATURE = re.compile(
    r"((?:[?&;]|\\u0026|%3F|%26)"
    r"(?:[\w.-]*(?:signature|token|credential|secret|passw|api[_-]?key|accesskeyid|authorization)[\w.-]*|sig|code)"
    r"(?:=|%3D))[^\s&;'\"]+",
    re.IGNORECASE,
)
# Where no URL or query tells that a secret follows: connection strings, forms, JSON and settings of Azure.
_NAMED_SECRET = re.compile(
    r"(\b(?:account_?key|shared_?access_?(?:key|signature)|sas_?token|client_?secret|sig)['\"]?\s*(?:=|:|%3D)\s*)"
    r"(['\"]?)[^\s&;,'\"]+",
    re.IGNORECASE,
)
# At the level DEBUG these packages log requests with signatures and tokens.
_VERBOSE_PACKAGES = ("azure", "boto3", "botocore", "google", "msal", "s3transfer", "urllib3")


@contextmanager
def about(name: object, variable: ContextVar[object | None] = job) -> Iterator[None]:
    """Marks the lines that are logged meanwhile as being about a job, or a sample.

    Args:
        name: the job's id, or the sample's URI.
        variable: `job` or `sample`.
    """
    token: Token[object | None] = variable.set(name)
    try:
        yield
    finally:
        variable.reset(token)


class TextFormatter(logging.Formatter):
    """``2026-11-22 21:05:01 INFO     [job 4f1e…] message``; other packages with the logger's name."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return clean(f"{when} {record.levelname:<8} {with_subject(record)}{_trace(self, record)}")


class JsonFormatter(logging.Formatter):
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


def with_subject(record: logging.LogRecord) -> str:
    """A record's message for people; with its job and sample where the message does not name them."""
    message = record.getMessage()
    missing = [f"{name} {text}" for name, text in _subject(record).items() if text not in message]
    subject = f"[{', '.join(missing)}] " if missing else ""
    name = "" if record.name.startswith("forebay") else f"{record.name}: "
    return f"{subject}{name}{message}"


def clean(text: str) -> str:
    """``text`` without the user names, passwords and query strings of its URLs, or a path's signature."""
    if "://" in text:
        text = _QUERY.sub(r"\1?…", _LOGIN.sub(_masked, text))
    # What logs a request often logs the path alone.
    return _NAMED_SECRET.sub(r"\1\2…", _SIGNATURE.sub(r"\1…", text))


def _masked(login: re.Match[str]) -> str:
    """A login in the form that `forebay.config.mask_url` gives it, and without the user's name."""
    user, colon = login.groups()
    return f"{'***' if user else ''}{':***' if colon else ''}@"


class CleanFormatter(logging.Formatter):
    """Another package's formatter, whose lines are cleaned.

    Args:
        inner: the formatter.
    """

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return clean(self._inner.format(record))


def make_formatter(wanted: LogFormat) -> logging.Formatter:
    """The formatter for a format."""
    return JsonFormatter() if wanted == "json" else TextFormatter()


def quieten() -> None:
    """Keeps packages from logging requests with their signatures, at any level of verbosity."""
    for name in _VERBOSE_PACKAGES:
        logging.getLogger(name).setLevel(logging.INFO)


def _subject(record: logging.LogRecord) -> dict[str, str]:
    """The job and the sample of a record: those that it was logged with, or else its thread's."""
    found: dict[str, Any] = {
        "job": getattr(record, "job", None) or job.get(),
        "sample": getattr(record, "sample", None) or sample.get(),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return f"\n{formatter.formatException(record.exc_info)}" if record.exc_info else ""
