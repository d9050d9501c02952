"""Ranges and alternatives in braces: ``shard-{0000..0123}.tar``, ``{train,val}/a.jpg``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from forebay.errors import UriError
from forebay.uri import shown

_BRACES = re.compile(r"\{(?:([0-9]+)\.\.([0-9]+)|([^{}]*,[^{}]*))\}")
_MAX_DIGITS = 18
_MAX_GROUPS = 100


def has_braces(text: str) -> bool:
    """Whether a text stands for several."""
    return _BRACES.search(text) is not None


def expand_braces(text: str, most: int | None = None) -> Iterator[str]:
    """The texts that one stands for, in order, made as they are asked for; a text without braces is itself.

    A range keeps the zeros of its numbers: ``{008..010}`` is 008, 009, 010. Other braces stay as they are.

    Args:
        most: how many there may be; ``None`` for any number.

    Raises:
        UriError: a range runs backwards, there are braces within braces, or too many of them.
    """
    if _BRACES.search(_BRACES.sub("0", text)):
        raise UriError(f"{shown(text)} has braces within braces, which are not expanded", uri=text)
    parts: list[str] = []
    choices: list[range | list[str]] = []
    widths: list[int] = []
    at = 0
    for match in _BRACES.finditer(text):
        parts.append(text[at : match.start()])
        at = match.end()
        first, last, names = match.groups()
        if names is not None:
            choices.append(names.split(","))
            widths.append(0)
        elif max(len(first), len(last)) > _MAX_DIGITS:
            raise UriError(f"a range in {shown(text)} has more than {_MAX_DIGITS} digits", uri=text)
        elif int(first) > int(last):
            raise UriError(f"the range {match[0]} in {shown(text)} runs backwards", uri=text)
        else:
            choices.append(range(int(first), int(last) + 1))
            padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
            widths.append(max(len(first), len(last)) if padded else 0)

    if len(choices) > _MAX_GROUPS:
        raise UriError(f"{shown(text)} has more than {_MAX_GROUPS} ranges and alternatives", uri=text)
    number = math.prod(map(len, choices))
    if most is not None and number > most:
        raise UriError(f"{shown(text)} stands for {number:,} names, and {most:,} are allowed here", uri=text)

    def combined(before: str, place: int) -> Iterator[str]:
        if place == len(choices):
            yield before + text[at:]
            return
        for value in choices[place]:
            shape = f"{value:0{widths[place]}d}" if isinstance(value, int) else value
            yield from combined(before + parts[place] + shape, place + 1)

    return combined("", 0)
