"""The table of symbols through which Forebay reaches into FiftyOne.

Each module of the adapter declares its hooks beside the functions that replace FiftyOne's::

    @hooks.around("fiftyone.utils.image", "read")
    def read(original, path_or_url, *args, **kwargs):
        return original(local_media.local_path(path_or_url), *args, **kwargs)

`missing` checks, without importing FiftyOne, that the installed version has every declared symbol.
`install` replaces each symbol as soon as its module has been imported.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import wrapt

Wrapper = Callable[..., Any]


@dataclass(frozen=True)
class Hook:
    """One symbol of one module.

    Attributes:
        module: the module that defines it.
        symbol: a function, ``Class.method``, or any other name of the module.
        replace: returns the new value for the present one, which is ``None`` for a new symbol.
        new: whether the symbol is added, because FiftyOne has none of this name.
    """

    module: str
    symbol: str
    replace: Callable[[Any], Any]
    new: bool = False

    def __str__(self) -> str:
        return f"{self.module}.{self.symbol}"


_table: list[Hook] = []


def around(module: str, *symbols: str) -> Callable[[Wrapper], Wrapper]:
    """Replaces each symbol by the decorated function, which gets the original as its first argument."""

    def declare(function: Wrapper) -> Wrapper:
        _table.extend(Hook(module, symbol, functools.partial(_wrapped, function)) for symbol in symbols)
        return function

    return declare


def replace(
    module: str, symbol: str, new: bool = False
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Replaces a symbol by what the decorated function returns for its value (``None`` for a new symbol)."""

    def declare(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _table.append(Hook(module, symbol, function, new))
        return function

    return declare


def add(module: str, *symbols: str) -> Callable[[Any], Any]:
    """Adds a symbol to a module or class, with the decorated function or property as its value."""

    def declare(value: Any) -> Any:
        _table.extend(Hook(module, symbol, lambda _: value, new=True) for symbol in symbols)
        return value

    return declare


def declared() -> tuple[Hook, ...]:
    """All hooks that were declared so far."""
    return tuple(_table)


def missing(hooks: Iterable[Hook]) -> list[Hook]:
    """The hooks whose symbols the installed packages do not have.

    A new method needs its class, a new function its module.
    """
    return [hook for hook in hooks if not _exists(hook)]


def install(hooks: Iterable[Hook]) -> None:
    """Replaces each symbol when its module is imported; at once if it has been imported already."""
    by_module: dict[str, list[Hook]] = defaultdict(list)
    for hook in hooks:
        by_module[hook.module].append(hook)
    for module, those in by_module.items():
        wrapt.register_post_import_hook(functools.partial(_apply, those), module)


def _wrapped(function: Wrapper, original: Any) -> Any:
    inner = original.__func__ if isinstance(original, classmethod | staticmethod) else original

    if inspect.iscoroutinefunction(function):
        # Starlette awaits only what is declared as a coroutine function.
        @functools.wraps(inner)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await function(inner, *args, **kwargs)
    else:

        @functools.wraps(inner)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(inner, *args, **kwargs)

    return type(original)(wrapper) if isinstance(original, classmethod | staticmethod) else wrapper


def _apply(hooks: Iterable[Hook], module: ModuleType) -> None:
    for hook in hooks:
        *classes, name = hook.symbol.split(".")
        owner = functools.reduce(getattr, classes, module)
        # Only the class's dictionary has the staticmethod or classmethod object itself.
        old = vars(owner).get(name)
        new = hook.replace(old)
        setattr(owner, name, new)
        # A module that it imports, such as os, is shared with other modules, which must keep theirs.
        if old is not None and not classes and not isinstance(old, ModuleType):
            _renew_copies(name, old, new)


def _renew_copies(name: str, old: Any, new: Any) -> None:
    """Replaces the copies that ``from module import name`` made before the adapter was switched on."""
    for other, module in list(sys.modules.items()):
        if other.partition(".")[0] == "fiftyone" and vars(module).get(name) is old:
            setattr(module, name, new)


def _exists(hook: Hook) -> bool:
    source = _source(hook.module)
    if source is None:
        return False
    *classes, name = hook.symbol.split(".")
    for owner in classes:
        start = re.search(rf"^class {owner}\b", source, re.MULTILINE)
        if start is None:
            return False
        body = source[start.end() :]
        end = re.search(r"^\S", body[body.index("\n") :], re.MULTILINE)
        source = body if end is None else body[: body.index("\n") + end.start()]
    if hook.new:
        return True
    indent = r"    " if classes else ""
    return (
        re.search(
            rf"^{indent}(?:(?:async )?def|class) {name}\b|^{indent}{name}\b.*=|"
            rf"^{indent}(?:import|from)\b.*\b{name}$",
            source,
            re.MULTILINE,
        )
        is not None
    )


@cache
def _source(module: str) -> str | None:
    """The source of a module, without importing it."""
    path: list[str] | None = None
    spec = None
    for part in module.split("."):
        spec = PathFinder.find_spec(part, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).read_text(encoding="utf-8")
