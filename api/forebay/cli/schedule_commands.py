"""``forebay schedule``: prefetches that the workers of a volume make again and again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli import fetch_options, targets
from forebay.cli.output import Json, emit, put, say, table, warn
from forebay.cli.shared_options import State, settings
from forebay.config.sizes import count, span
from forebay.tables import clock

if TYPE_CHECKING:
    from forebay.schedules.definition import ScheduledRun
    from forebay.schedules.standing import Schedules, ScheduleStatus

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.", show_default=False)]

_EPILOG = """
[bold]Examples[/]

forebay schedule add labels s3://bucket/labels/ --every 1h --lease 2h --max-age 1h

forebay schedule add nightly @s3://bucket/train.csv --cron '0 3 * * *' --zone Europe/Berlin

forebay schedule run nightly
"""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(
        help="Let workers prefetch again and again: list, add, pause, resume, remove, run.", epilog=_EPILOG
    )
    group.callback(invoke_without_command=True)(default)
    group.command("list")(list_all)
    group.command("add")(add)
    group.command("pause")(pause)
    group.command("resume")(resume)
    group.command("remove")(remove)
    group.command("run")(run)
    app.add_typer(group, name="schedule")


@settings()
def default(ctx: typer.Context, json: Json = False) -> int:
    """Let workers prefetch again and again: list, add, pause, resume, remove, run."""
    return _list(ctx, json) if ctx.invoked_subcommand is None else 0


@settings("volume")
def list_all(ctx: typer.Context, json: Json = False) -> int:
    """List the schedules: when each runs next, and how its last run ended."""
    return _list(ctx, json)


@settings("volume")
def add(
    ctx: typer.Context,
    name: Name,
    uris: targets.Targets,
    every: Annotated[
        str | None, typer.Option(metavar="TIME", help="The time from one run to the next: 30m, 1h, 7d.")
    ] = None,
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help="The times of its runs, as '0 3 * * *'.")
    ] = None,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="The time zone of --cron.")] = "UTC",
    lease: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Keep the samples of a run for this time, or until the next has them all."
        ),
    ] = None,
    update: fetch_options.Update = False,
    max_age: fetch_options.MaxAge = None,
    include: targets.Include = None,
    exclude: targets.Exclude = None,
    column: targets.Column = None,
    checksum_column: targets.ChecksumColumn = None,
    root: targets.Root = None,
    list_kind: targets.ListKind = None,
    head: fetch_options.Head = None,
    tail: fetch_options.Tail = None,
    ranges: fetch_options.Ranges = None,
    json: Json = False,
) -> int:
    """Add a prefetch that workers make every so often, or at the times of a cron expression."""
    targets.options_of(column, checksum=checksum_column, root=root, kind=list_kind)
    schedules = _schedules(ctx)
    status = schedules.add(
        name,
        uris,
        every=every,
        cron=cron,
        zone=zone,
        lease=lease,
        update=fetch_options.update_of_options(update, max_age),
        include=include or (),
        exclude=exclude or (),
        column=column,
        checksum=checksum_column,
        root=root,
        kind=list_kind,
        parts=fetch_options.parts_of_options(head, tail, ranges),
    )
    if json:
        emit(asdict(status))
    else:
        put(f"{name} runs next at {_time(status.next)}")
    _warn_without_workers(ctx)
    return 0


@settings("volume")
def pause(ctx: typer.Context, name: Name, json: Json = False) -> int:
    """Have a schedule not run until it is resumed; a run that has begun goes on."""
    schedules = _schedules(ctx)
    schedules.pause(name)
    return _changed(schedules, name, f"{name} is paused", json)


@settings("volume")
def resume(ctx: typer.Context, name: Name, json: Json = False) -> int:
    """End the pause of a schedule, which runs at its next time."""
    schedules = _schedules(ctx)
    schedules.resume(name)
    return _changed(schedules, name, f"{name} runs next at {_time(schedules.get(name).next)}", json)


@settings("volume")
def remove(ctx: typer.Context, name: Name, json: Json = False) -> int:
    """Remove a schedule; a run that has begun goes on, and leases last until they expire."""
    _schedules(ctx).remove(name)
    if json:
        emit({"name": name})
    else:
        put(f"{name} is removed")
    return 0


@settings("volume")
def run(ctx: typer.Context, name: Name, json: Json = False) -> int:
    """Have a worker run a schedule now, also one that is paused."""
    schedules = _schedules(ctx)
    schedules.run(name)
    _warn_without_workers(ctx)
    return _changed(schedules, name, f"{name} runs as soon as a worker looks, within seconds", json)


def _schedules(ctx: typer.Context) -> Schedules:
    # Imported here: the help does without.
    from forebay.schedules.standing import Schedules

    return Schedules(State.of(ctx).reachable_cache())


def _changed(schedules: Schedules, name: str, text: str, json: bool) -> int:
    if json:
        emit(asdict(schedules.get(name)))
    else:
        put(text)
    return 0


def _list(ctx: typer.Context, json: bool) -> int:
    found = _schedules(ctx).list()
    if json:
        emit([asdict(status) for status in found])
    elif found:
        table(["name", "when", "next", "last", "result"], [_row(status) for status in found])
    else:
        say("no schedules")
    return 0


def _row(status: ScheduleStatus) -> list[str]:
    when = status.cron or f"every {span(status.every or 0)}"
    if status.cron and status.zone != "UTC":
        when += f" {status.zone}"
    following = "paused" if status.paused and status.next is None else _time(status.next)
    last = status.last
    return [
        status.name,
        when,
        following,
        "" if last is None else _time(last.ended or last.begun),
        _result(last),
    ]


def _result(run: ScheduledRun | None) -> str:
    if run is None:
        return "has not run yet"
    if run.state in ("starting", "running"):
        return f"job {run.job} runs"
    if not run.job:
        return run.error
    failed = f", {run.failed:,} failed" if run.failed else ""
    reason = f", {run.error}" if run.error else ""
    return f"job {run.job}: {count(run.total, 'sample')}{failed}{reason}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else clock(seconds)


def _warn_without_workers(ctx: typer.Context) -> None:
    cache = State.of(ctx).reachable_cache()
    if not cache.engine.open_index().workers.alive():
        how = "`forebay up`" if cache.config.redis_url is None else "`forebay worker`"
        volume = cache.config.volume
        warn(f"no worker of volume {volume!r} is alive, and workers run schedules: start one with {how}")
