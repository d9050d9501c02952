"""Values of fields: single ones, or lists of them of any depth, as fields of lists and of frames have "
"them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def flatten(values: Any) -> Iterator[Any]:
    """The single values, in order."""
    if isinstance(values, list | tuple):
        for value in values:
            yield from flatten(value)
    else:
        yield values


def map_nested(function: Callable[[Any], Any], values: Any) -> Any:
    """Replaces each single value by what ``function`` returns for it; lists keep their shape."""
    if isinstance(values, list | tuple):
        return [map_nested(function, value) for value in values]
    return function(values)
