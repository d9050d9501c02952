"""Which bytes of each object a job wants, where it does not want all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from forebay.config.sizes import human, parse_size
from forebay.errors import ConfigError
from forebay.uri import shown
from forebay.uri.blocks import BLOCK_BYTES, Version

Range = str | tuple[int | str, int | str | None]
"""``A-B`` or ``A-``, or the two as a pair: from byte A up to byte B, which is not in it, or to the end."""


@dataclass(frozen=True, slots=True, init=False)
class Parts:
    """Parts of objects: the same bytes of each, as far as it has them.

    Args:
        head: so many bytes at its beginning, as a number or as ``16MiB``.
        tail: so many bytes at its end.
        ranges: further ones, as ``1GiB-1.5GiB``, which ends before the second number, or ``1GiB-``, to the
            end; or pairs of sizes.

    Raises:
        ConfigError: a size or a range is none, or no byte is named.

    Attributes:
        head, tail: in bytes.
        ranges: the first byte of each, and the byte after its last one; ``None`` for the object's end.
    """

    head: int
    tail: int
    ranges: tuple[tuple[int, int | None], ...]

    def __init__(self, head: int | str = 0, tail: int | str = 0, ranges: Iterable[Range] | str = ()) -> None:
        named = ranges if isinstance(ranges, Iterable) and not isinstance(ranges, str) else (ranges,)
        object.__setattr__(self, "head", parse_size(head))
        object.__setattr__(self, "tail", parse_size(tail))
        object.__setattr__(self, "ranges", tuple(map(_parse_range, named)))
        if not (self.head or self.tail or self.ranges):
            raise ConfigError("head, tail and ranges name no byte: leave them out to fetch whole objects")

    def __str__(self) -> str:
        parts = [f"head {human(self.head)}"] if self.head else []
        parts += [f"tail {human(self.tail)}"] if self.tail else []
        return ", ".join(parts + [f"bytes {a}-{'' if b is None else b}" for a, b in self.ranges])


def parts_of_text(text: str) -> Parts | None:
    """What `text_of_parts` has written; ``None`` for any other text, which stands for whole objects."""
    try:
        head, tail, *ranges = json.loads(text)
        return Parts(head, tail, ranges)
    except (ValueError, TypeError, ConfigError, RecursionError):
        return None


def text_of_parts(parts: Parts) -> str:
    """Parts for the ledger.

    Raises:
        ConfigError: they are none.
    """
    if not isinstance(parts, Parts):
        raise ConfigError(f"parts={shown(parts)} must be forebay.Parts, such as Parts(head=65536)")
    return json.dumps([parts.head, parts.tail, *parts.ranges])


def wanted_blocks(parts: Parts, version: Version) -> list[int]:
    """The numbers of the blocks that hold the wanted bytes of a version, in order."""
    size, found = version.size, set[int]()
    for first, end in ((0, parts.head), (max(0, size - parts.tail), size), *parts.ranges):
        after = size if end is None else min(end, size)
        if first < after:
            found.update(range(first // BLOCK_BYTES, -(-after // BLOCK_BYTES)))
    return sorted(found)


def _parse_range(given: Range) -> tuple[int, int | None]:
    try:
        first, end = given.split("-") if isinstance(given, str) else given
        begin, after = parse_size(first), None if end is None or end == "" else parse_size(end)
    except (ValueError, TypeError, ConfigError):
        begin, after = 0, 0
    if after is not None and after <= begin:
        raise ConfigError(
            f"{shown(given)} is not a range of bytes; expected for instance 0-16MiB, which ends before the "
            "second, or 1GiB- to the end"
        )
    return begin, after
