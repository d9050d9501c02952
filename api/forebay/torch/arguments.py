"""Checks of arguments, so that a wrong one is an error at once, and not in a process of a loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import forebay
from forebay.errors import ConfigError
from forebay.uri import shown

_Transform = TypeVar("_Transform", bound=Callable[..., object])


def checked_transform(transform: _Transform | None) -> _Transform | None:
    """A transform that can be called, or none.

    Raises:
        ConfigError: it is neither.
    """
    if transform is not None and not callable(transform):
        raise ConfigError(
            f"transform={shown(transform)} is not allowed: must be a function", setting="transform"
        )
    return transform


def checked_cache(cache: forebay.MediaCache | None) -> forebay.MediaCache | None:
    """A cache, or none.

    Raises:
        ConfigError: it is neither.
    """
    if cache is not None and not isinstance(cache, forebay.MediaCache):
        raise ConfigError(f"cache={shown(cache)} is not allowed: must be a MediaCache", setting="cache")
    return cache
