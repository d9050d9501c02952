"""The head of an answer: its status and headers, read without trust."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Larger numbers than this are no sizes of anything.
_MOST_DIGITS = 18
_BLANK = (b"\r\n", b"\n")


class Headers:
    """The headers of an answer; names are case-insensitive, and one may come several times.

    Args:
        lines: as they came, status line and line ends included.
    """

    __slots__ = ("_found", "_lines")

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = lines
        self._found: dict[str, list[str]] | None = None

    def get(self, name: str) -> str | None:
        """The value of a header; several are joined by commas, as HTTP allows; ``None`` if there is none."""
        values = self._parsed().get(name.lower())
        if values is None:
            return None
        return values[0] if len(values) == 1 else ", ".join(values)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a header, in the order of arrival."""
        return tuple(self._parsed().get(name.lower(), ()))

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._parsed()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of a name in lower case and one value."""
        for name, values in self._parsed().items():
            for value in values:
                yield name, value

    def number(self, name: str) -> int | None:
        """The value as a whole number that is not negative; ``None`` if it is none, or absurdly large."""
        values = self.all(name)
        text = values[0] if values else ""
        if any(value != text for value in values) or not 0 < len(text) <= _MOST_DIGITS:
            return None
        return int(text) if text.isascii() and text.isdigit() else None

    def time(self, name: str) -> float | None:
        """The value as a date of HTTP, in seconds since the epoch; ``None`` if it is none."""
        return parse_date(self.get(name) or "")

    def _parsed(self) -> dict[str, list[str]]:
        found = self._found
        if found is None:
            found = self._found = {}
            last: list[str] | None = None
            for line in self._lines:
                text = line.decode("latin-1")
                name, colon, value = text.partition(":")
                if text[:1] in " \t" and last:
                    last[-1] = f"{last[-1]} {text.strip()}"
                elif colon:
                    last = found.setdefault(name.strip().lower(), [])
                    last.append(value.strip())
        return found


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before an answer's body.

    Attributes:
        status: the HTTP status.
        headers: of the final answer; those of interim answers and of a proxy's CONNECT are gone.
        version: of HTTP, ``1.0``, ``1.1``, ``2`` or ``3``.
    """

    status: int
    headers: Headers
    version: str = "1.1"

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
        """What Content-Range says: first byte, the byte after the last, whole size; ``None`` if nothing.

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
    start = end = len(lines)
    while start:
        start -= 1
        if lines[start] in _BLANK:
            end = start
        elif lines[start].startswith(b"HTTP/") and (start == 0 or lines[start - 1] in _BLANK):
            break
    version, _, rest = lines[start].partition(b" ") if lines else (b"", b"", b"")
    status = rest[:3]
    return Head(
        int(status) if status.isdigit() else 0,
        Headers(lines[start + 1 : end]),
        version[5:].decode("latin-1"),
    )


def parse_date(text: str) -> float | None:
    """A date of HTTP in seconds since the epoch; ``None`` for what is none, or lies outside all calendars."""
    if not text or len(text) > 100:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return None


def retry_after(headers: Headers, *, now: float | None = None, longest: float) -> float | None:
    """For how many seconds a server asks to be left alone; ``None`` if it does not say.

    Args:
        now: the time in seconds since the epoch; by default this moment.
        longest: what is obeyed at most.
    """
    text = (headers.get("retry-after") or "").split(",")[0].strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:_MOST_DIGITS]), longest)
    date = parse_date(headers.get("retry-after") or "")
    if date is None:
        return None
    return min(max(date - (time.time() if now is None else now), 0.0), longest)


def _number(text: str) -> int | None:
    return int(text) if 0 < len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit() else None
