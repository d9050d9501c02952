"""Reads the label files of COCO and FiftyOne, which are one JSON document each, maybe of gigabytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from forebay import forks
from forebay.jobs.listed_samples import Samples
from forebay.manifests.rows import Rows

# Python's and FiftyOne's writers write numbers that JSON does not have.
_NO_JSON = re.compile(rb"(?<=[:,\[\s])(?:NaN|-?Infinity)(?=[\s,\]}])")
_LONGEST = len(b"-Infinity") + 2
_CHUNK = 64 << 10
# ijson does not survive an integer of more digits than Python converts (4,300), which may be in two chunks.
_MAX_DIGITS = 2000
_DIGITS = re.compile(rb"[0-9]{%d}" % _MAX_DIGITS)
_SPARSE = _MAX_DIGITS // 64
_SPARSE_DIGITS = re.compile(rb"[0-9]{64}")
# It keeps a path for each level, so that its memory grows with the square of the depth.
_MAX_DEPTH = 2000
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))
_SLICE = 1 << 10
_BOM = b"\xef\xbb\xbf"


def read_records(file: BinaryIO, rows: Rows, key: str) -> Iterator[Samples]:
    """The objects of one list of a JSON document: ``images`` of COCO, ``samples`` of FiftyOne.

    Raises:
        ManifestError: it is not valid JSON, as far as it was read.
    """
    with forks.setting_up():
        import ijson

    number = 0
    try:
        for record in ijson.items(SoundJson(file), f"{key}.item", use_float=True):
            number += 1
            if isinstance(record, Mapping):
                rows.add_record(number, record)
            else:
                rows.note(number, "expected an object")
            if rows.is_full:
                yield rows.take()
    except (ijson.JSONError, ValueError) as error:
        after = f" after {number:,} {key}" if number else ""
        raise rows.fail(f"not valid JSON{after} ({str(error).splitlines()[0]})") from None


class SoundJson:
    """A JSON file without byte order mark, in which ``NaN`` and ``Infinity`` are ``null``, for ijson."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._is_begun = False
        # What the end of a chunk cut off, and before it a byte that was given already.
        self._held = b""
        self._given = 0

    def read(self, size: int = -1) -> bytes:
        """Some bytes; none at the end, or where none are asked for.

        Raises:
            ValueError: they are what ijson must not be given.
        """
        while size:
            chunk = self._file.read(_CHUNK)
            if not self._is_begun:
                chunk, self._is_begun = chunk.removeprefix(_BOM), True
            _check(chunk)
            found = self._replaced(self._held + chunk, is_last=not chunk)
            if found or not chunk:
                return found
        return b""

    def _replaced(self, data: bytes, *, is_last: bool) -> bytes:
        at = self._given
        end = len(data) if is_last else max(at, len(data) - _LONGEST)
        parts: list[bytes] = []
        if b"N" in data or b"I" in data:
            for match in _NO_JSON.finditer(data, at):
                if match.start() >= end:
                    break
                parts += (data[at : match.start()], b"null")
                at = match.end()
        end = max(end, at)
        parts.append(data[at:end])
        self._given = min(end, 1)
        self._held = data[end - self._given :]
        return b"".join(parts)


def _check(chunk: bytes) -> None:
    # To look at a few of the bytes takes no time, and rules it out for nearly every chunk.
    if _SPARSE_DIGITS.search(chunk[::_SPARSE]) and _DIGITS.search(chunk):
        raise ValueError(f"a number has more than {_MAX_DIGITS:,} digits")
    brackets, depth = chunk.translate(None, _NO_BRACKETS), 0
    for at in range(0, len(brackets), _SLICE):
        part = brackets[at : at + _SLICE]
        depth += part.count(b"[") + part.count(b"{") - part.count(b"]") - part.count(b"}")
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
