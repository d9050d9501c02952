"""``forebay config`` and ``forebay doctor``."""

from __future__ import annotations

import json as json_module
import shutil
import sys
import textwrap
from dataclasses import asdict
from typing import Annotated

import typer

from forebay.cli.output import Json, emit, say, table
from forebay.cli.shared_options import State, settings
from forebay.config import config_path

_COLORS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "wrong": typer.colors.RED}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("config")(config)
    app.command("doctor")(doctor)


@settings(everything=True)
def config(ctx: typer.Context, json: Json = False) -> int:
    """Print every setting, its value, and where it came from; secrets are masked."""
    state = State.of(ctx)
    found = state.config()
    values, origins = found.masked(), found.origins()
    for name in state.settings():
        origins[name] = "--" + ("cache-size" if name == "cache_size_bytes" else name.replace("_", "-"))
    if json:
        emit({name: {"value": values[name], "origin": origins[name]} for name in values})
        return 0
    rows = [[name, _shown(values[name]), origins[name]] for name in values]
    table(["setting", "value", "from"], rows)
    path = config_path()
    if not path.exists():
        say(f"{path} does not exist; settings can be written there as JSON, or set in the environment")
    return 0


def _wrap(text: str, *, indent: int) -> str:
    """Text whose lines fit the terminal, if there is one; all but the first are indented."""
    if not sys.stdout.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns - 1)
    lines = textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json_module.dumps(value)


@settings()
def doctor(
    ctx: typer.Context,
    uri: Annotated[
        str | None, typer.Argument(metavar="URI", help="An object or a prefix/ that must be readable.")
    ] = None,
    json: Json = False,
) -> int:
    """Check Redis, the volume, its disk, the workers, and access to a URI; say what to do where it fails."""
    # Imported here, so that --help and the other commands of this module start without it.
    from forebay.checks.doctor import examine

    findings = []
    for finding in examine(State.of(ctx).cache(), uri):
        findings.append(finding)
        if not json:
            word = typer.style(f"{finding.state:<8}", fg=_COLORS[finding.state])
            typer.echo(f"{word} {finding.name:<8} {_wrap(finding.message, indent=18)}")
    if json:
        emit([asdict(finding) for finding in findings])
    return 1 if any(finding.state == "wrong" for finding in findings) else 0
