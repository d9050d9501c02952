"""``forebay ls``, ``stats``, ``verify``, ``clear`` and ``evict``: what is in the cache."""

from __future__ import annotations

import typer

from forebay.cli.output import Json, count, emit, put
from forebay.cli.state import State, settings


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(stats)


@settings()
def stats(ctx: typer.Context, json: Json = False) -> int:
    """Say how full the cache is."""
    found = State.of(ctx).cache().stats()
    if json:
        emit(found)
    else:
        put(f"{found['cache_dir']}: {count(found['current_count'], 'object')}, {found['current_size_str']}")
    return 0
