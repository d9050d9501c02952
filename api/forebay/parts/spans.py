"""Reads several spans of an object at a time, and fetches together what is missing for all of them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

from forebay.parts.holder import Holder
from forebay.parts.opening import open_file
from forebay.parts.part_file import PartFile

Span = tuple[int | None, int | None]
"""What a slice of the object's bytes has: its first byte, and the one after its last."""


def read_spans(holder: Holder, uri: str, spans: Sequence[Span]) -> list[bytes]:
    """The bytes of each span, which may lie in any order.

    Raises:
        ForebayError: they cannot be fetched; `ObjectChangedError` where the object is another one by now.
    """
    with open_file(holder, uri, "rb", None) as file:
        size = file.seek(0, os.SEEK_END)
        wanted = [slice(*span).indices(size)[:2] for span in spans]
        parts = file.raw if isinstance(file, io.BufferedReader) and isinstance(file.raw, PartFile) else None
        found: list[bytes] = []
        while len(found) < len(wanted):
            left = wanted[len(found) :]
            for start, end in left[: parts.expect(left)] if parts is not None else left:
                file.seek(start)
                found.append(file.read(max(0, end - start)))
        return found
