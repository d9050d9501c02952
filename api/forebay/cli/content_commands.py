"""``forebay ls``, ``stats``, ``verify``, ``clear`` and ``evict``: the contents of the cache."""

from __future__ import annotations

import heapq
import sys
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cli import targets
from forebay.cli.output import Json, clock, columns, emit, put, say, warn
from forebay.cli.shared_options import State, settings
from forebay.config.sizes import count, human, parse_size
from forebay.manifests.prefixes import is_prefix
from forebay.uri import entry_of, is_local, uri_of
from forebay.volume.contents import CachedObject

if TYPE_CHECKING:
    from forebay.cache import MediaCache

_BAR_WIDTH = 40


class Order(str, Enum):
    """The sort keys of ``ls``."""

    uri = "uri"
    size = "size"
    used = "used"
    fetched = "fetched"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("ls")(ls)
    app.command("stats")(stats)
    app.command("verify")(verify)
    app.command("clear")(clear)
    app.command("evict")(evict)


@settings()
def ls(
    ctx: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Only URIs with this prefix.")] = "",
    sort: Annotated[
        Order, typer.Option("--sort", help="uri, or the largest, last used, or last fetched first.")
    ] = Order.uri,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", metavar="", help="Reverse the order.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show at most N entries.")] = None,
    json: Json = False,
) -> int:
    """List what is cached: size, last use, URI. A * marks what a lease keeps."""
    found = State.of(ctx).known_cache().contents(prefix)
    descending = reverse if sort is Order.uri else not reverse

    def key(item: CachedObject) -> tuple[str | float, str]:
        return getattr(item, sort.value), item.uri

    if limit is None:
        chosen = sorted(found, key=key, reverse=descending)
    else:
        chosen = (heapq.nlargest if descending else heapq.nsmallest)(limit, found, key=key)
    room = columns()
    for item in chosen:
        if json:
            emit(asdict(item), one_of_many=True)
        else:
            about = f"{human(item.size):>9}  {clock(item.used)} {'*' if item.leased else ' '}"
            # A URI that begins a line of its own wraps so that it can be copied.
            narrow = room is not None and len(about) + 1 + len(item.uri) > room
            put(f"{about.rstrip()}\n{item.uri}" if narrow else f"{about} {item.uri}")
    return 0


@settings()
def stats(ctx: typer.Context, json: Json = False) -> int:
    """Say how full the cache is, and what holds its space."""
    cache = State.of(ctx).known_cache()
    found: dict[str, Any] = {**cache.stats(), **_more_stats(cache)}
    if json:
        emit(found)
        return 0
    put(f"{found['cache_dir']} (volume {cache.config.volume})")
    if found["cache_size"] >= 0:
        full = min(found["load_factor"], 1.0)
        text = f"{full:.0%}, {found['current_size_str']} of {found['cache_size_str']}"
        width = min(_BAR_WIDTH, max(0, (columns() or 80) - len(text) - 1))
        put(f"{('━' * round(full * width)).ljust(width, '─')} {text}")
    rows = [("objects", f"{found['current_count']:,}, {found['current_size_str']}")]
    if found["leases"]:
        rows.append(("leased", f"{human(found['leased'])} by {count(found['leases'], 'lease')}"))
    if found["reserved"]:
        rows.append(("reserved", f"{human(found['reserved'])} by running downloads, in blocks"))
    if found["unindexed"] > 0:
        rows.append(("unindexed", f"{human(found['unindexed'])} in files that are not in the index yet"))
    rows += _egress_rows(cache, found)
    rows.append(("disk", f"{human(found['disk_free'])} free"))
    rows.append(("jobs", f"{found['jobs_running']:,} running"))
    rows.append(("workers", f"{found['workers']:,} alive"))
    for name, text in rows:
        put(f"{name:<10} {text}")
    return 0


def _egress_rows(cache: MediaCache, found: dict[str, Any]) -> list[tuple[str, str]]:
    """What came from where, for those who have told that they want to know."""
    if cache.config.group is None and found["egress_saved_cost"] is None:
        return []
    origins = [f"{human(amount)} from {origin}" for origin, amount in found["fetched"].items()]
    cost = found["egress_saved_cost"]
    worth = "" if cost is None else f", worth {cost:,.2f}"
    return [
        ("fetched", ", ".join(origins)),
        ("served", f"{human(found['from_cache'])} from the cache, {human(found['sent'])} to neighbours"),
        ("saved", f"{human(found['egress_saved'])} of egress{worth}"),
    ]


def _egress_stats(cache: MediaCache) -> dict[str, Any]:
    # Imported here, as above.
    from forebay.metrics.egress import Egress

    egress = Egress.of(cache.engine.open_index().counters.read())
    return {
        "fetched": {origin: int(amount) for origin, amount in egress.fetched.items()},
        "from_cache": int(egress.from_cache),
        "sent": int(egress.sent),
        "egress_saved": int(egress.saved),
        "egress_saved_cost": egress.saved_cost(cache.config.egress_price_per_gb),
    }


def _more_stats(cache: MediaCache) -> dict[str, Any]:
    totals = cache.engine.open_index().entries.totals()
    return {
        "leased": totals.leased,
        "reserved": totals.reserved,
        "unindexed": totals.unindexed,
        "disk_free": cache.engine.files.free_bytes(),
        "leases": len(cache.leases()),
        "jobs_running": sum(status.state == "running" for status in cache.jobs()),
        "workers": len(cache.engine.open_index().workers.alive()),
        **_egress_stats(cache),
    }


@settings()
def verify(
    ctx: typer.Context,
    uris: targets.Targets,
    include: targets.Include = None,
    exclude: targets.Exclude = None,
    column: targets.Column = None,
    root: targets.Root = None,
    list_kind: targets.ListKind = None,
    remote: Annotated[
        bool,
        typer.Option("--remote", metavar="", help="Also ask the sources whether cached objects are current."),
    ] = False,
    json: Json = False,
) -> int:
    """Check that all of it is cached: compares with the index and the disk, and lists what is missing.

    Objects below a prefix, which has to be listed, are compared with their source in any case.
    """
    # Imported here, so that --help and the other commands of this module start without it.
    from forebay.checks.audit import audit

    state = State.of(ctx)
    cache = state.known_cache()
    wanted = targets.read_targets(state, uris, column, root, list_kind)
    listing = targets.expand_targets(cache, wanted, include, exclude)
    with targets.Counter("asking the sources", "object") as counter:
        findings = list(audit(cache, listing, remote=remote, asked=counter.show))
    states = ["cached", "missing", "stale", "damaged", "unknown"]
    counts = {state: sum(finding.state == state for finding in findings) for state in states}
    wrong = [finding for finding in findings if finding.state != "cached"]
    if json:
        emit({"total": len(findings), **counts, "findings": [asdict(finding) for finding in wrong]})
    else:
        for finding in wrong:
            put(f"{finding.state:<8} {finding.uri}{f': {finding.reason}' if finding.reason else ''}")
        rest = [f"{number:,} {state}" for state, number in counts.items() if number or state == "cached"]
        say(f"{count(len(findings), 'object')}: {', '.join(rest)}")
    return 1 if wrong else 0


@settings()
def clear(
    ctx: typer.Context,
    uris: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="URI|PREFIX/|@FILE|-", help="What to remove; a prefix is not listed at its source."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", metavar="", help="Remove everything.")] = False,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Also remove leased entries.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", metavar="", help="Do not ask.")] = False,
    column: targets.Column = None,
    root: targets.Root = None,
    list_kind: targets.ListKind = None,
    json: Json = False,
) -> int:
    """Remove files from the cache. The objects at their sources stay as they are."""
    if bool(uris) == everything:
        raise typer.BadParameter("name what to remove, or give --all")
    state = State.of(ctx)
    wanted = targets.read_targets(state, uris or [], column, root, list_kind)
    cache = state.known_cache()
    if everything:
        totals = cache.engine.open_index().entries.totals()
        entries, number, size = None, totals.count, totals.published
    else:
        chosen = _cached(cache, wanted)
        entries, number, size = list(chosen), len(chosen), sum(chosen.values())
    if number and not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on: give --yes")
        typer.confirm(
            f"Remove {count(number, 'object')} ({human(size)}) from the cache?", abort=True, err=True
        )
    removed = cache.engine.open_clearing().clear(entries, force=force)
    kept = max(0, number - removed)
    if json:
        emit({"removed": removed, "kept": kept})
    else:
        put(f"removed {count(removed, 'object')}")
        if kept:
            why = (
                "being downloaded"
                if force
                else "kept by a lease (--force removes those), or being downloaded"
            )
            warn(f"{count(kept, 'object')} {'is' if kept == 1 else 'are'} still there: {why}")
    return 1 if kept else 0


def _cached(cache: MediaCache, wanted: list[str]) -> dict[str, int]:
    """The cached entries of URIs and below prefixes, and their sizes."""
    prefixes = [uri.rstrip("/") + "/" for uri in wanted if is_prefix(uri)]
    named = [entry_of(uri) for uri in wanted if not is_prefix(uri) and not is_local(uri)]
    found: dict[str, CachedObject] = {}
    for prefix in prefixes:
        found.update((item.entry, item) for item in cache.contents(prefix))
    values = dict(zip(named, cache.engine.open_index().entries.values(named), strict=True))
    known = {entry: value.size for entry, value in values.items() if value is not None}
    return known | {entry: item.size for entry, item in found.items()}


@settings()
def evict(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="SIZE", help="The size to evict down to, as 50GB.")],
    json: Json = False,
) -> int:
    """Evict what was used least recently, until the cache holds no more than a size."""
    state = State.of(ctx)
    limit = parse_size(to)
    cache = state.known_cache()
    done = cache.evict(limit)
    left = cache.engine.open_index().entries.totals().published
    names = [uri_of(entry) or entry for entry in done.entries]
    if json:
        emit({"freed": done.freed, "left": left, "evicted": names})
    else:
        if state.verbose:
            for name in names:
                put(name)
        what = f"evicted {count(len(names), 'object')} ({human(done.freed)}), least recently used first"
        if not names:
            what = f"nothing {'could' if left > limit else 'had to'} be evicted"
        put(f"{what}; {human(left)} are left")
        if left > limit:
            warn(
                "the rest is leased, being downloaded, or in its grace period: `forebay lease ls` lists the "
                "leases"
            )
    return 1 if left > limit else 0
