"""The options that all commands share, and the configuration and caches made from them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar

import typer

from forebay.cli.output import log_to_stderr, write_as
from forebay.config import env_name, learn_aliases, mask_url
from forebay.config.sizes import parse_size

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.config import MediaCacheConfig

_P = ParamSpec("_P")
_R = TypeVar("_R")

_PANEL = "Settings"
_DEFAULTS = {"verbose": 0}
LOG_FORMAT = "FIFTYONE_MEDIA_CACHE_LOG_FORMAT"


def _option(
    *names: str,
    metavar: str,
    text: str,
    kind: type = str,
    panel: str | None = _PANEL,
    count: bool = False,
) -> Callable[[bool], Any]:
    def make(hidden: bool) -> Any:
        option = typer.Option(
            *names,
            metavar=metavar,
            help=text,
            rich_help_panel=panel,
            hidden=hidden,
            show_default=False,
            count=count,
        )
        return Annotated[kind, option]

    return make


# By the name of the parameter; the settings are those of `MediaCacheConfig`.
_OPTIONS: dict[str, Callable[[bool], Any]] = {
    "verbose": _option(
        "--verbose", "-v", metavar="", text="Log more; -vv logs much more.", kind=int, panel=None, count=True
    ),
    "cache_dir": _option("--cache-dir", metavar="DIR", text="The directory that holds the cached media."),
    "cache_size": _option("--cache-size", metavar="SIZE", text="The maximum size, as 50GB; -1 for no limit."),
    "redis_url": _option("--redis-url", metavar="URL", text="The Redis of the index, if it is not embedded."),
    "volume": _option(
        "--volume",
        metavar="NAME",
        text="The volume's name; prefetch, jobs, lease ls and metrics also take a,b or all.",
    ),
    "num_workers": _option(
        "--num-workers", metavar="N", kind=int, text="Threads of this process that move bytes."
    ),
    "bwlimit": _option(
        "--bwlimit",
        metavar="RATE",
        text="Bytes a second that one process downloads at most: 10MB, or '08:00,10MB 19:00,off'.",
    ),
    "log_format": _option("--log-format", metavar="text|json", text="How messages on stderr are written."),
    "dispatch": _option("--dispatch", metavar="auto|local|fleet", text="Who downloads: threads, or workers."),
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

    def take(self, options: dict[str, Any]) -> None:
        """Record the options that were given."""
        self.verbose += options.pop("verbose")
        log_to_stderr(self.verbose)
        self.given.update((name, value) for name, value in options.items() if value is not None)
        # Before the settings are read: an error in them is reported in this format.
        write_as(self.given.get("log_format") or os.environ.get(LOG_FORMAT, ""))
        # Commands look at their URIs before they make a cache.
        learn_aliases()

    def settings(self) -> dict[str, Any]:
        """The settings that were given, as arguments of `MediaCacheConfig`.

        Raises:
            ConfigError: ``--cache-size`` is not a size.
        """
        settings = dict(self.given)
        if "cache_size" in settings:
            text = settings.pop("cache_size")
            settings["cache_size_bytes"] = -1 if text == "-1" else parse_size(text)
        return settings

    def volumes(self) -> list[str] | Literal["all"] | None:
        """The names in ``--volume`` if it names several volumes, else ``None``.

        The option is consumed: the settings that remain are those of a single volume.
        """
        given = str(self.given.get("volume", ""))
        if given != "all" and "," not in given:
            return None
        del self.given["volume"]
        if given == "all":
            return "all"
        return list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))

    def environment(self) -> dict[str, str]:
        """The environment variables that give another process the same settings."""
        return {env_name(name): str(value) for name, value in self.settings().items()}

    def config(self) -> MediaCacheConfig:
        """The settings.

        Raises:
            ConfigError: one of them is not allowed.
        """
        # Imported here and below, so that --help and completion start without Pydantic, Redis and Celery.
        from forebay.config import MediaCacheConfig

        config = MediaCacheConfig(**self.settings())
        write_as(config.log_format)
        return config

    def cache(self) -> MediaCache:
        """The cache.

        Raises:
            ConfigError: a setting is not allowed.
        """
        from forebay.cache import MediaCache

        return MediaCache(self.config())

    def known_cache(self) -> MediaCache:
        """The cache of a volume that exists, so that a typo in a read-only command does not create one.

        Raises:
            ConfigError: a setting is not allowed.
            VolumeError: as `forebay.volumes.known_volumes.Volumes.check_known`.
        """
        from forebay.cache import MediaCache
        from forebay.volumes.known_volumes import Volumes

        config = self.config()
        with contextlib.closing(Volumes(config)) as volumes:
            volumes.check_known()
        return MediaCache(config)

    def reachable_cache(self, *, known: bool = False) -> MediaCache:
        """The cache; for a volume on another machine, one that answers only queries of its index.

        Args:
            known: raise for a volume that Redis does not know, as `known_cache` does.

        Raises:
            ConfigError: a setting is not allowed.
            VolumeError: as `forebay.volumes.known_volumes.Volumes.cache`, or `check_known`.
        """
        from forebay.volumes.known_volumes import Volumes

        volumes = Volumes(self.config())
        if known:
            volumes.check_known()
        return volumes.cache(volumes.config.volume)

    def looked_at(self) -> dict[str, MediaCache] | None:
        """The caches by volume name if ``--volume`` names several (see `volumes`), else ``None``.

        Raises:
            ConfigError, VolumeError: as `forebay.volumes.known_volumes.Volumes.look`.
        """
        from forebay.volumes.known_volumes import Volumes

        names = self.volumes()
        return None if names is None else Volumes(self.config()).look(names)

    def command(self, *arguments: str) -> str:
        """A ``forebay`` command line to copy, with the same settings and passwords masked."""
        words = ["forebay", *arguments]
        for name, value in self.given.items():
            option = {"cache_size_bytes": "cache_size"}.get(name, name)
            if option in _OPTIONS:
                words += [f"--{option.replace('_', '-')}", mask_url(str(value))]
        return shlex.join(words)


def settings(*shown: str, everything: bool = False) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Add to a command the options that override settings.

    They work before the command and after it. Only the help of ``forebay`` itself shows all of them.

    Args:
        shown: the options that this command's help shows, too.
        everything: whether it shows all of them.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(function)
        def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            ctx: Any = kwargs["ctx"]
            State.of(ctx).take({name: kwargs.pop(name) for name in _OPTIONS})
            return function(*args, **kwargs)

        # Not get_type_hints: before Python 3.11 it makes Optional[Annotated[…]] of what is None by default,
        # in which Typer does not find the option.
        signature = inspect.signature(function, eval_str=True)
        own = signature.parameters.values()
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_DEFAULTS.get(name),
                annotation=make(not everything and name not in shown),
            )
            for name, make in _OPTIONS.items()
        ]
        wrapper.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in (*own, *added)} | {
            "return": signature.return_annotation
        }
        del wrapper.__wrapped__
        return wrapper

    return decorate
