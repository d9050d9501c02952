"""``forebay fiftyone``: enables or disables the adapter, which lets FiftyOne use cloud media."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from typing import Literal

import typer

from forebay.cli.output import Json, emit, put, say, warn
from forebay.cli.shared_options import settings
from forebay.config import fiftyone_config

_HELP = "Let FiftyOne use cloud media: enable, disable, status."


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help=_HELP)
    group.callback(invoke_without_command=True)(default)
    group.command("enable")(enable)
    group.command("disable")(disable)
    group.command("status")(status)
    app.add_typer(group, name="fiftyone")


@dataclass(frozen=True)
class _Status:
    """The state of the adapter.

    Attributes:
        enabled: whether FiftyOne loads the adapter when it is imported.
        by: the source of the setting: the environment variable or the file.
        config_path: FiftyOne's configuration file.
        fiftyone: the version that is installed.
        fits: whether the adapter supports this version.
        problem: why it does not.
    """

    enabled: bool
    by: Literal["environment", "file"] | None
    config_path: str
    fiftyone: str | None
    fits: bool
    problem: str | None


@settings()
def default(ctx: typer.Context, json: Json = False) -> int:
    """Let FiftyOne use cloud media: enable, disable, status."""
    return _show(json) if ctx.invoked_subcommand is None else 0


@settings()
def enable(ctx: typer.Context, json: Json = False) -> int:
    """Let every program of yours that imports FiftyOne use cloud media, the App included."""
    changed = fiftyone_config.enable()
    _tell(changed, "now names" if changed else "already names", json)
    named = fiftyone_config.in_environment()
    if named is not None and fiftyone_config.MODULE not in named:
        warn(
            f"{fiftyone_config.VARIABLE} is set, to {':'.join(named)}, and wins over the file; "
            f"unset it, or add :{fiftyone_config.MODULE} to it"
        )
    problem = _problem()
    if problem is not None:
        warn(problem)
    return 0


@settings()
def disable(ctx: typer.Context, json: Json = False) -> int:
    """Leave FiftyOne as it is, without cloud media."""
    changed = fiftyone_config.disable()
    _tell(changed, "no longer names" if changed else "does not name", json)
    if fiftyone_config.MODULE in (fiftyone_config.in_environment() or []):
        warn(f"{fiftyone_config.VARIABLE} names {fiftyone_config.MODULE}, and wins over the file; unset it")
    return 0


@settings()
def status(ctx: typer.Context, json: Json = False) -> int:
    """Tell whether FiftyOne loads the adapter, what makes it, and whether the two fit."""
    return _show(json)


def _tell(changed: bool, how: str, json: bool) -> None:
    if json:
        emit({"changed": changed, "config_path": str(fiftyone_config.config_path())})
    else:
        say(f"{fiftyone_config.config_path()} {how} {fiftyone_config.MODULE}")


def _show(json: bool) -> int:
    found = _status()
    if json:
        emit(asdict(found))
    else:
        put(f"enabled   {_enabled(found)}")
        put(f"FiftyOne  {found.fiftyone or 'not installed'}")
        put(f"adapter   {'fits' if found.fits else found.problem}")
    return 1 if found.enabled and not found.fits else 0


def _enabled(found: _Status) -> str:
    if found.by == "environment":
        return f"yes, by {fiftyone_config.VARIABLE}"
    if found.by == "file":
        return f"yes, by {found.config_path}"
    if fiftyone_config.MODULE in fiftyone_config.in_file():
        return f"no: {fiftyone_config.VARIABLE} does not name it, and wins over {found.config_path}"
    return "no; run: forebay fiftyone enable"


def _status() -> _Status:
    variable = fiftyone_config.in_environment()
    enabled = fiftyone_config.MODULE in fiftyone_config.modules()
    try:
        version = metadata.version("fiftyone")
    except metadata.PackageNotFoundError:
        version = None
    problem = _problem()
    return _Status(
        enabled=enabled,
        by=None if not enabled else "file" if variable is None else "environment",
        config_path=str(fiftyone_config.config_path()),
        fiftyone=version,
        fits=problem is None,
        problem=problem,
    )


def _problem() -> str | None:
    """Why the adapter does not support the FiftyOne of this Python; ``None`` if it does."""
    try:
        # Switches the adapter on in this process, which uses FiftyOne for nothing else.
        import_module(fiftyone_config.MODULE)
    except ImportError as error:
        return str(error)
    return None
