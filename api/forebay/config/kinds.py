"""What a setting may be: the kinds of values, and what each makes of a value that was given.

Values come from JSON (of any type), from the environment (text), or are arguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from forebay.config.sizes import in_bytes, in_seconds

# Makes of a value that was given what the setting is.
Convert = Callable[[Any], Any]

_WORDS = {
    **dict.fromkeys(("1", "on", "t", "true", "y", "yes"), True),
    **dict.fromkeys(("0", "off", "f", "false", "n", "no"), False),
}
_INTEGER = re.compile(r"[+-]?[0-9]+(?:\.0*)?\Z")


class NotAllowedError(ValueError):
    """A value that a setting may not have; the text says what it may be."""


class UnreadableError(NotAllowedError):
    """Text that does not have the form which its setting needs."""


class Kind:
    """A kind of values.

    Args:
        words: what it may be, for the page about the settings.
        convert: makes the value, or raises `NotAllowedError`.

    Attributes:
        is_json: whether the environment gives it as JSON.
        is_list: whether it is a list, which the environment may also give with commas.
    """

    def __init__(self, words: str, convert: Convert, *, is_json: bool = False, is_list: bool = False) -> None:
        self.words = words
        self.convert = convert
        self.is_json = is_json
        self.is_list = is_list


def bounded(
    kind: Kind, at_least: int | None = None, at_most: int | None = None, above: int | None = None
) -> Kind:
    """Numbers of a kind, within bounds."""

    def convert(value: Any) -> Any:
        number = kind.convert(value)
        if at_least is not None and not number >= at_least:
            raise NotAllowedError(f"input should be greater than or equal to {at_least}")
        if above is not None and not number > above:
            raise NotAllowedError(f"input should be greater than {above}")
        if at_most is not None and not number <= at_most:
            raise NotAllowedError(f"input should be less than or equal to {at_most}")
        return number

    if at_least is not None and at_most is not None:
        return Kind(f"{kind.words}, {at_least} to {at_most}", convert)
    words = [kind.words]
    words += [] if at_least is None else [f"at least {at_least}"]
    words += [] if above is None else [f"above {above}"]
    words += [] if at_most is None else [f"at most {at_most}"]
    return Kind(", ".join(words), convert)


def choice(*values: str) -> Kind:
    """One of several words."""
    *others, last = map(repr, values)
    expected = f"{', '.join(others)} or {last}" if others else last

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in values:
            raise NotAllowedError(f"input should be {expected}")
        return value

    return Kind(" or ".join(f"`{value}`" for value in values), convert)


def either(first: Kind, second: Kind) -> Kind:
    """What one or the other kind takes."""

    def convert(value: Any) -> Any:
        try:
            return first.convert(value)
        except NotAllowedError as error:
            reason = error
        try:
            return second.convert(value)
        except NotAllowedError as error:
            raise type(reason)(f"{reason}, or {error}") from None

    return Kind(f"{first.words}, or {second.words}", convert)


def optional(kind: Kind) -> Kind:
    """What a kind takes, or ``None``."""
    return Kind(kind.words, lambda value: None if value is None else kind.convert(value))


def checked(kind: Kind, check: Convert) -> Kind:
    """What a kind takes, passed on through one more function."""
    return Kind(
        kind.words,
        lambda value: check(kind.convert(value)),
        is_json=kind.is_json,
        is_list=kind.is_list,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise NotAllowedError("input should be a valid string")
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = _WORDS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
    if found is None:
        interpret = ", unable to interpret input" if isinstance(value, str | int) else ""
        raise NotAllowedError(f"input should be a valid boolean{interpret}")
    return found


def _integer(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip()
        # Python refuses to convert thousands of digits.
        if not _INTEGER.match(text) or len(text) > 100:
            raise UnreadableError("input should be a valid integer, unable to parse string as an integer")
        return int(text.partition(".")[0])
    if isinstance(value, float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise NotAllowedError("input should be a finite number")
        if not value.is_integer():
            raise NotAllowedError("input should be a valid integer, got a number with a fractional part")
    elif not isinstance(value, int) or isinstance(value, bool):
        raise NotAllowedError("input should be a valid integer")
    return int(value)


def _number(value: Any) -> float:
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        raise NotAllowedError("input should be a valid number")
    try:
        number = float(value)
    except ValueError:
        raise UnreadableError("input should be a valid number, unable to parse string as a number") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise NotAllowedError("input should be a finite number")
    return number


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list | tuple):
        raise NotAllowedError("input should be a valid list")
    return [_text(one) for one in value]


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NotAllowedError("input should be a valid dictionary")
    return value


TEXT = Kind("text", _text)
BOOLEAN = Kind("`true` or `false`", _boolean)
INTEGER = Kind("an integer", _integer)
BYTES = Kind("a size", lambda value: _integer(in_bytes(value)))
NUMBER = Kind("a number", _number)
SECONDS = Kind("a duration", lambda value: _number(in_seconds(value)))
TEXTS = Kind("a list", _texts, is_json=True, is_list=True)
OBJECT = Kind("an object", _object, is_json=True)
