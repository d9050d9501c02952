"""The head of an answer: its status and headers, read without trust."""

from __future__ import annotations

import datetime
import email.utils
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat

# Larger numbers than this are no sizes of anything.
_MAX_DIGITS = 18
_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[n : n + 3]: n // 3 + 1 for n in range(0, 36, 3)}
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_BLANK = (b"\r\n", b"\n")
_CONTINUED = re.compile(r"\r?\n[ \t]+")


class Headers(dict[str, str]):
    """The headers of an answer by their names in lower case; of one that came several times, all values,
    joined by commas as HTTP allows.

    Args:
        lines: as they came, without the status line.
    """

    __slots__ = ("_repeated",)

    def __init__(self, lines: Sequence[bytes]) -> None:
        # All values of the few names that come several times.
        self._repeated: dict[str, list[str]] = {}
        text = b"".join(lines).decode("latin-1")
        if "\n " in text or "\n\t" in text:
            text = _CONTINUED.sub(" ", text)
        parts = list(map(str.partition, text.removesuffix("\n").split("\n"), repeat(":")))
        names, colons, values = zip(*parts, strict=True)
        lowered = map(str.lower, map(str.strip, names))
        self.update(zip(lowered, map(str.strip, values), strict=True))
        if len(self) != len(parts) or "" in colons:
            self._collect(parts)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in the order of arrival."""
        if name in self._repeated:
            return tuple(self._repeated[name])
        return (self[name],) if name in self else ()

    def number(self, name: str) -> int | None:
        """The value as a whole number that is not negative; ``None`` if it is none, or absurdly large."""
        text = self.get(name, "")
        if name in self._repeated:
            text, *others = self._repeated[name]
            if any(other != text for other in others):
                return None
        return _number(text) if text else None

    def time(self, name: str) -> float | None:
        """The value as a date of HTTP, in seconds since the epoch; ``None`` if it is none."""
        return parse_date(self.get(name, ""))

    def _collect(self, parts: Sequence[tuple[str, str, str]]) -> None:
        """Reads headers of which some come several times, and lines that are none."""
        self.clear()
        for spelled, colon, value in parts:
            name = spelled.strip().lower()
            if colon and name in self:
                self._repeated.setdefault(name, [self[name]]).append(value.strip())
            elif colon:
                self[name] = value.strip()
        for name, values in self._repeated.items():
            self[name] = ", ".join(values)


class Head:
    """The part of an answer before its body.

    Args:
        headers: those of the final answer; those of interim answers and of a proxy's CONNECT are gone.

    Attributes:
        status: the HTTP status.
        version: of HTTP, ``1.0``, ``1.1``, ``2`` or ``3``.
        headers: as given.
        size: the length of the body as announced, in bytes; ``None`` where that is not told, or nonsense.
        encoding: the Content-Encoding in lower case; empty where the bytes are the object itself.
    """

    __slots__ = ("encoding", "headers", "size", "status", "version")

    def __init__(self, status: int, headers: Headers, version: str = "1.1") -> None:
        self.status = status
        self.version = version
        self.headers = headers
        self.size = None if "transfer-encoding" in headers else headers.number("content-length")
        encoding = headers.get("content-encoding", "").lower()
        self.encoding = "" if encoding in ("identity", "aws-chunked") else encoding

    def __repr__(self) -> str:
        return f"Head({self.status}, {dict(self.headers)})"

    @property
    def span(self) -> tuple[int, int, int | None] | None:
        """Content-Range in numbers: first byte, the byte after the last, whole size; ``None`` if nothing.

        An answer of 416 has the form ``bytes */SIZE``; its first two numbers are 0.
        """
        unit, _, rest = self.headers.get("content-range", "").partition(" ")
        part, slash, whole = rest.strip().partition("/")
        size = _number(whole)
        if unit.lower() != "bytes" or not slash or (size is None and whole != "*"):
            return None
        if part == "*":
            return 0, 0, size
        first, last = (_number(text) for text in part.partition("-")[::2])
        if first is None or last is None or last < first or (size is not None and last >= size):
            return None
        return first, last + 1, size


def head_of(lines: Sequence[bytes]) -> Head:
    """The head in the lines that libcurl handed over.

    Args:
        lines: of every answer so far: a proxy's, interim ones, the last one, and its trailers.
    """
    start, end = 0, len(lines) - 1
    if lines.count(b"\r\n") != 1 or lines[end] != b"\r\n":
        start, end = _last_block(lines)
    line = lines[start] if lines else b""
    version, status = line[5:8], line[9:12]
    if version[1:] != b".1" and version[1:] != b".0":  # "HTTP/2 200"
        version, status = line[5:6], line[7:10]
    headers = Headers(lines[start + 1 : end])
    return Head(int(status) if status.isdigit() else 0, headers, version.decode("latin-1"))


def ends_head(lines: Sequence[bytes]) -> bool:
    """Whether the head is complete: an empty line ends it."""
    return bool(lines) and (lines[-1] in _BLANK or any(line in _BLANK for line in lines))


def _last_block(lines: Sequence[bytes]) -> tuple[int, int]:
    """Where the last head begins and ends among several."""
    start = end = len(lines)
    while start:
        start -= 1
        if lines[start] in _BLANK:
            end = start
        elif lines[start].startswith(b"HTTP/") and (start == 0 or lines[start - 1] in _BLANK):
            break
    return start, end


def parse_date(text: str) -> float | None:
    """A date of HTTP in seconds since the epoch; ``None`` for what is none, or lies outside all calendars."""
    if not text or len(text) > 100:
        return None
    try:
        if len(text) == 29 and text.endswith(" GMT") and text[16] == " ":
            # The form that servers send, ten times as fast: "Mon, 02 Feb 2026 12:00:00 GMT".
            hour, minute, second = text[17:25].split(":")
            return float(_day(text[5:16]) * 86400 + int(hour) * 3600 + int(minute) * 60 + int(second))
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, LookupError, OSError):
        return None


@lru_cache
def _day(text: str) -> int:
    """Days since the epoch, of ``02 Feb 2026``."""
    return datetime.date(int(text[7:11]), _MONTHS[text[3:6]], int(text[0:2])).toordinal() - _EPOCH


def retry_after(headers: Headers, *, now: float | None = None, max_seconds: float) -> float | None:
    """For how many seconds a server asks to be left alone; ``None`` if it does not say.

    Args:
        now: the time in seconds since the epoch; by default this moment.
        max_seconds: what is obeyed at most.
    """
    text = headers.get("retry-after", "").split(",")[0].strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:_MAX_DIGITS]), max_seconds)
    date = parse_date(headers.get("retry-after", ""))
    if date is None:
        return None
    return min(max(date - (time.time() if now is None else now), 0.0), max_seconds)


def _number(text: str) -> int | None:
    return int(text) if 0 < len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit() else None
