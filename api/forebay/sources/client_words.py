"""The words of ``extra_client_kwargs``: which a cloud's package knows, and which mean something here."""

from __future__ import annotations

import copy
import difflib
import logging
import os
from collections.abc import Iterable, Mapping, Set
from typing import Any

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.uri import shown

log = logging.getLogger(__name__)

_SETTING = "extra_client_kwargs"
# As the setting calls them.
_NAMES = {"az": "azure"}
_told: set[tuple[str, str]] = set()


def arguments_of(config: MediaCacheConfig, scheme: str) -> dict[str, Any]:
    """A copy of what the setting says for a scheme, to be changed at will, with ``config`` spread out.

    Raises:
        ConfigError: ``config`` is no object.
    """
    arguments = own_copy(config, scheme)
    options = mapping(arguments, "config", scheme, remove=True)
    return arguments | options


def own_copy(config: MediaCacheConfig, scheme: str) -> dict[str, Any]:
    """A copy of what the setting says for a scheme; the clouds' packages change what they are given."""
    return copy.deepcopy(dict(config.extra_client_kwargs.get(scheme, {})))


def check_words(given: Iterable[str], known: Set[str], scheme: str) -> None:
    """Checks that a client's package knows all words.

    Raises:
        ConfigError: one is unknown; names those that are near.
    """
    for word in sorted(set(given) - known):
        near = difflib.get_close_matches(word, sorted(known), n=3, cutoff=0.6)
        meant = " or ".join(map(repr, near))
        hint = f"did you mean {meant}?" if near else f"known are {', '.join(sorted(known))}"
        raise _error(scheme, f"has no {shown(word)}; {hint}")


def say_ignored(words: Iterable[str], scheme: str) -> None:
    """Says once in a process that a word does nothing for downloads, as Forebay moves the bytes itself."""
    for word in sorted(words):
        if (scheme, word) not in _told:
            _told.add((scheme, word))
            name = _NAMES.get(scheme, scheme)
            log.info("%r in extra_client_kwargs for %r means nothing to downloads", word, name)


def seconds(arguments: Mapping[str, Any], name: str, default: float, scheme: str) -> float:
    """A number of seconds among the arguments.

    Raises:
        ConfigError: it is none.
    """
    value = arguments.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise _error(scheme, f"has a {name!r} that is no number of seconds: {shown(value)}")
    return float(value)


def check_kinds(
    arguments: Mapping[str, Any], names: Iterable[str], kind: type[int] | type[str] | type[bool], scheme: str
) -> None:
    """Checks that those of the arguments that are there are numbers, text, or true or false.

    Raises:
        ConfigError: one is something else.
    """
    what = {int: "number", str: "text"}.get(kind, "true or false")
    for name in names:
        value = arguments.get(name)
        wrong = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
        if value is not None and wrong:
            raise _error(scheme, f"has a {name!r} that is no {what}")


def mapping(
    arguments: dict[str, Any], name: str, scheme: str, *, texts: bool = False, remove: bool = False
) -> dict[str, Any]:
    """An object among the arguments; an empty one where there is none.

    Args:
        texts: whether all of its values must be text, or null.
        remove: whether it is taken out of the arguments.

    Raises:
        ConfigError: it is none.
    """
    value = arguments.pop(name, None) if remove else arguments.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict) or (
        texts and not all(one is None or isinstance(one, str) for one in value.values())
    ):
        raise _error(scheme, f"has a {name!r} that is no object of {'text' if texts else 'arguments'}")
    return value


def text(arguments: Mapping[str, Any], name: str, scheme: str) -> str | None:
    """Text among the arguments; ``None`` where there is none.

    Raises:
        ConfigError: it is something else.
    """
    check_kinds(arguments, [name], str, scheme)
    return arguments.get(name)


def trust(arguments: Mapping[str, Any], name: str, scheme: str) -> bool | str | None:
    """Whom to trust: true or false, or the path of a bundle; ``None`` where nothing is said.

    Raises:
        ConfigError: it is something else.
    """
    value = arguments.get(name)
    if value is not None and not isinstance(value, bool | str | os.PathLike):
        raise _error(scheme, f"has a {name!r} that is neither true nor false nor the path of a bundle")
    return value if isinstance(value, bool) or value is None else os.fspath(value)


def _error(scheme: str, problem: str) -> ConfigError:
    text = f"setting {_SETTING}: {_NAMES.get(scheme, scheme)!r} {problem}"
    return ConfigError(text, setting=_SETTING)
