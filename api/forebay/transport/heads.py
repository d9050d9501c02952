"""The head of an answer: its status and headers, read without trust."""

from __future__ import annotations

import datetime
import email.utils
import time
from collections.abc import Iterator, Sequence

# Larger numbers than this are no sizes of anything.
_MAX_DIGITS = 18
_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[n : n + 3]: n // 3 + 1 for n in range(0, 36, 3)}
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_BLANK = (b"\r\n", b"\n")


class Headers:
    """The headers of an answer; names are case-insensitive, and one may come several times.

    Args:
        lines: as they came, status line and line ends included.
    """

    __slots__ = ("_found", "_lines", "_repeated")

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        # The first value of each name, and all values of the few that come several times.
        self._found: dict[str, str] | None = None
        self._repeated: dict[str, list[str]] = {}

    def get(self, name: str) -> str | None:
        """The value of a header; several are joined by commas, as HTTP allows; ``None`` if there is none."""
        found = self._parsed()
        name = name.lower()
        if name in self._repeated:
            return ", ".join(self._repeated[name])
        return found.get(name)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in the order of arrival."""
        name, found = name.lower(), self._parsed()
        if name in self._repeated:
            return tuple(self._repeated[name])
        return (found[name],) if name in found else ()

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parsed()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of a name in lower case and one value."""
        for name in self._parsed():
            for value in self.all(name):
                yield name, value

    def number(self, name: str) -> int | None:
        """The value as a whole number that is not negative; ``None`` if it is none, or absurdly large."""
        values = self.all(name)
        text = values[0] if values else ""
        if any(value != text for value in values) or not 0 < len(text) <= _MAX_DIGITS:
            return None
        return int(text) if text.isascii() and text.isdigit() else None

    def time(self, name: str) -> float | None:
        """The value as a date of HTTP, in seconds since the epoch; ``None`` if it is none."""
        return parse_date(self.get(name) or "")

    def _parsed(self) -> dict[str, str]:
        if self._found is None:
            text = b"".join(self._lines).decode("latin-1")
            parts = [line.partition(":") for line in text.split("\n") if line]
            self._found = {name.strip().lower(): value.strip() for name, _, value in parts}
            if len(self._found) != len(parts) or "\n " in text or "\n\t" in text:
                self._parse_slowly(parts)
        return self._found

    def _parse_slowly(self, parts: Sequence[tuple[str, str, str]]) -> None:
        """Parses headers of which one comes several times, or goes on in the next line."""
        found: dict[str, str] = {}
        self._found, last = found, ""
        for name, colon, value in parts:
            if name[:1] in (" ", "\t"):
                if last:
                    rest = f"{name}{colon}{value}".strip()
                    self._put(last, f"{self.all(last)[-1]} {rest}", replace=True)
            elif colon:
                last = name.strip().lower()
                if last in found:
                    self._put(last, value.strip())
                else:
                    found[last] = value.strip()

    def _put(self, name: str, value: str, *, replace: bool = False) -> None:
        """Adds a further value of a header, or replaces its last one."""
        assert self._found is not None
        values = self._repeated.setdefault(name, [self._found[name]])
        if replace:
            values.pop()
        values.append(value)


class Head:
    """The part of an answer before its body.

    Attributes:
        status: the HTTP status.
        version: of HTTP, ``1.0``, ``1.1``, ``2`` or ``3``.
    """

    __slots__ = ("_headers", "_lines", "status", "version")

    def __init__(self, status: int, headers: Headers | Sequence[bytes], version: str = "1.1") -> None:
        self.status = status
        self.version = version
        self._headers = headers if isinstance(headers, Headers) else None
        self._lines = headers if not isinstance(headers, Headers) else ()

    def __repr__(self) -> str:
        return f"Head({self.status}, {dict(self.headers)})"

    @property
    def headers(self) -> Headers:
        """The headers of the final answer; those of interim answers and of a proxy's CONNECT are gone."""
        if self._headers is None:
            self._headers = Headers(self._lines)
        return self._headers

    @property
    def size(self) -> int | None:
        """The length of the body as announced, in bytes; ``None`` where that is not told, or nonsense."""
        return None if "transfer-encoding" in self.headers else self.headers.number("content-length")

    @property
    def encoding(self) -> str:
        """The Content-Encoding in lower case; empty where the bytes are the object itself."""
        encoding = (self.headers.get("content-encoding") or "").strip().lower()
        return "" if encoding in ("identity", "aws-chunked") else encoding

    @property
    def span(self) -> tuple[int, int, int | None] | None:
        """Content-Range in numbers: first byte, the byte after the last, whole size; ``None`` if nothing.

        An answer of 416 has the form ``bytes */SIZE``; its first two numbers are 0.
        """
        unit, _, rest = (self.headers.get("content-range") or "").partition(" ")
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
    return Head(int(status) if status.isdigit() else 0, lines[start + 1 : end], version.decode("latin-1"))


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
            day = datetime.date(int(text[12:16]), _MONTHS[text[8:11]], int(text[5:7])).toordinal() - _EPOCH
            return float(((day * 24 + int(hour)) * 60 + int(minute)) * 60 + int(second))
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, LookupError, OSError):
        return None


def retry_after(headers: Headers, *, now: float | None = None, max_seconds: float) -> float | None:
    """For how many seconds a server asks to be left alone; ``None`` if it does not say.

    Args:
        now: the time in seconds since the epoch; by default this moment.
        max_seconds: what is obeyed at most.
    """
    text = (headers.get("retry-after") or "").split(",")[0].strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:_MAX_DIGITS]), max_seconds)
    date = parse_date(headers.get("retry-after") or "")
    if date is None:
        return None
    return min(max(date - (time.time() if now is None else now), 0.0), max_seconds)


def _number(text: str) -> int | None:
    return int(text) if 0 < len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit() else None
