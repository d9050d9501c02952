"""``forebay lease``: keeps entries from eviction until the lease expires."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from forebay.cli import targets
from forebay.cli.output import Json, emit, put, say, table
from forebay.cli.shared_options import State, settings
from forebay.config.sizes import count, parse_duration, span
from forebay.volume.leases import Lease, find_lease

Name = Annotated[str, typer.Argument(metavar="NAME", help="The lease's name.", show_default=False)]
Time = Annotated[str, typer.Option("--for", metavar="TIME", help="How long, from now on: 90s, 30m, 24h, 7d.")]

_EPILOG = """
[bold]Examples[/]

forebay lease add @manifest.txt --for 24h --name run-7

forebay lease renew run-7 --for 24h

forebay lease end run-7
"""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="Keep objects from eviction: list, add, renew and end leases.", epilog=_EPILOG)
    group.callback(invoke_without_command=True)(default)
    group.command("ls")(ls)
    group.command("add")(add)
    group.command("renew")(renew)
    group.command("end")(end)
    app.add_typer(group, name="lease")


@settings()
def default(ctx: typer.Context, json: Json = False) -> int:
    """Keep objects from eviction: list, add, renew and end leases."""
    return _list(ctx, json) if ctx.invoked_subcommand is None else 0


@settings("volume")
def ls(ctx: typer.Context, json: Json = False) -> int:
    """List the leases, the first to expire first; with --volume a,b or all, those of several."""
    return _list(ctx, json)


def _list(ctx: typer.Context, json: bool) -> int:
    state = State.of(ctx)
    several = state.looked_at()
    caches = {"": state.reachable_cache(known=True)} if several is None else several
    found = [(volume, lease) for volume, cache in caches.items() for lease in cache.leases()]
    found.sort(key=lambda one: one[1].seconds_left)
    if json:
        emit([({"volume": volume} if volume else {}) | asdict(lease) for volume, lease in found])
    elif found:
        rows = [
            [*([volume] if volume else []), lease.name, f"{lease.entries:,}", span(lease.seconds_left)]
            for volume, lease in found
        ]
        titles = ["lease", "objects", "time left"]
        if several is not None:
            titles = ["volume", *titles]
        table(titles, rows, right=["objects"])
    else:
        say("no leases")
    return 0


@settings()
def add(
    ctx: typer.Context,
    uris: targets.Targets,
    ttl: Time,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Its name; one that exists is extended.")
    ] = None,
    include: targets.Include = None,
    exclude: targets.Exclude = None,
    column: targets.Column = None,
    root: targets.Root = None,
    list_kind: targets.ListKind = None,
    json: Json = False,
) -> int:
    """Keep objects, cached or not yet, from eviction; prints the lease's name."""
    state, seconds = State.of(ctx), parse_duration(ttl)
    wanted = targets.read_targets(state, uris, column, root, list_kind)
    cache = state.reachable_cache()
    listing = targets.expand_targets(cache, wanted, include, exclude)
    lease = cache.lease(listing.uris, seconds, name)
    if json:
        emit({"name": lease.name, "entries": len(set(listing.uris)), "seconds_left": seconds})
    else:
        say(f"{count(len(set(listing.uris)), 'object')} kept for {span(seconds)}")
        put(lease.name)
    return 0


@settings()
def renew(ctx: typer.Context, name: Name, ttl: Time, json: Json = False) -> int:
    """Let a lease last longer, or shorter."""
    seconds = parse_duration(ttl)
    index = State.of(ctx).reachable_cache(known=True).engine.open_index()
    lease = find_lease(index, name)
    Lease(name, index).renew(seconds)
    if json:
        emit({"name": name, "entries": lease.entries, "seconds_left": seconds})
    else:
        put(f"{name} keeps {count(lease.entries, 'object')} for another {span(seconds)}")
    return 0


@settings()
def end(ctx: typer.Context, name: Name, json: Json = False) -> int:
    """End a lease now: what no other lease keeps may be evicted again."""
    index = State.of(ctx).reachable_cache(known=True).engine.open_index()
    lease = find_lease(index, name)
    Lease(name, index).end()
    if json:
        emit({"name": name, "entries": lease.entries})
    else:
        put(f"{name} has ended; it kept {count(lease.entries, 'object')}")
    return 0
