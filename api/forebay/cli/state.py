"""What the commands share: the settings given on the command line, and what is made of them."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.config import MediaCacheConfig

_P = ParamSpec("_P")
_R = TypeVar("_R")

_PANEL = "Settings"


def _option(name: str, kind: Any, metavar: str, text: str) -> Callable[[bool], Any]:
    def make(hidden: bool) -> Any:
        return Annotated[
            kind,
            typer.Option(
                name, metavar=metavar, help=text, rich_help_panel=_PANEL, hidden=hidden, show_default=False
            ),
        ]

    return make


# By the name of the parameter; the settings are those of `MediaCacheConfig`.
_OPTIONS: dict[str, Callable[[bool], Any]] = {
    "cache_dir": _option("--cache-dir", str | None, "DIR", "The directory that holds the cached media."),
    "cache_size": _option(
        "--cache-size", str | None, "SIZE", "The most it may hold, as 50GB; -1 for no limit."
    ),
    "redis_url": _option(
        "--redis-url", str | None, "URL", "The Redis of the index, where it is not embedded."
    ),
    "volume": _option("--volume", str | None, "NAME", "The volume's name, and its queue's."),
    "num_workers": _option("--num-workers", int | None, "N", "Download threads of this process."),
    "dispatch": _option("--dispatch", str | None, "auto|local|fleet", "Who downloads: threads, or workers."),
}


@dataclass
class State:
    """One run of the command.

    Attributes:
        given: the settings that were given as options, by the option's name.
        verbose: how often ``--verbose`` was given.
    """

    given: dict[str, Any] = field(default_factory=dict)
    verbose: int = 0

    @staticmethod
    def of(ctx: typer.Context) -> State:
        state: State = ctx.obj
        return state

    def settings(self) -> dict[str, Any]:
        """The settings that were given, as arguments of `MediaCacheConfig`.

        Raises:
            ConfigError: the size is none.
        """
        from forebay.sizes import parse_size

        settings = dict(self.given)
        if "cache_size" in settings:
            text = settings.pop("cache_size")
            settings["cache_size_bytes"] = -1 if text == "-1" else parse_size(text)
        return settings

    def environment(self) -> dict[str, str]:
        """The variables that give another process the same settings."""
        from forebay.config import env_name

        return {env_name(name): str(value) for name, value in self.settings().items()}

    def config(self) -> MediaCacheConfig:
        """The settings.

        Raises:
            ConfigError: one of them is not allowed.
        """
        from forebay.config import MediaCacheConfig

        return MediaCacheConfig(**self.settings())

    def cache(self) -> MediaCache:
        """The cache.

        Raises:
            ConfigError: a setting is not allowed.
        """
        from forebay.cache import MediaCache

        return MediaCache(self.config())

    def command(self, *arguments: str) -> str:
        """A command to copy, with the same settings; a password in them is left out."""
        from forebay.config import mask_url

        words = ["forebay", *arguments]
        for name, value in self.given.items():
            if name in ("cache_dir", "redis_url", "volume", "dispatch"):
                words += [f"--{name.replace('_', '-')}", mask_url(value)]
        return shlex.join(words)


def settings(*shown: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Gives a command the options that override settings.

    They work before the command and after it. Only the help of ``forebay`` itself shows all of them.

    Args:
        shown: the options that this command's help shows, too.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            ctx: Any = kwargs["ctx"]
            for name in _OPTIONS:
                value = kwargs.pop(name)
                if value is not None:
                    State.of(ctx).given[name] = value
            return function(*args, **kwargs)

        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
        own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values()]
        added = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=make(name not in shown)
            )
            for name, make in _OPTIONS.items()
        ]
        wrapper.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *added)} | {"return": hints["return"]}
        del wrapper.__wrapped__
        return wrapper

    return decorate


ALL_SETTINGS = tuple(_OPTIONS)
