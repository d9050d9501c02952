"""``forebay jobs`` and ``forebay job``."""

from __future__ import annotations

from typing import Annotated

import typer

from forebay import logs
from forebay.cli import following
from forebay.cli.output import Json, ago, emit, put, say, table
from forebay.cli.shared_options import State, settings
from forebay.config.sizes import human


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("jobs")(jobs)
    app.command("job")(job)


@settings("volume")
def jobs(ctx: typer.Context, json: Json = False) -> int:
    """List the prefetch jobs of the volume, oldest first; with --volume a,b or all, those of several."""
    # Imported here, so that --help and the other commands of this module start without it.
    from forebay.jobs.ledger import abandoned

    state = State.of(ctx)
    several = state.looked_at()
    found = []
    for volume, cache in ({"": state.reachable_cache(known=True)} if several is None else several).items():
        alone = abandoned(cache.engine.open_index())
        found += [(volume, status, status.id in alone) for status in cache.jobs()]
    found.sort(key=lambda one: one[1].created)
    if json:
        emit(
            [
                ({"volume": volume} if volume else {}) | status.as_dict() | {"abandoned": stopped}
                for volume, status, stopped in found
            ]
        )
    elif found:
        rows = [
            [
                *([volume] if volume else []),
                status.id,
                "stopped" if stopped else status.state,
                status.dispatch,
                f"{status.total - status.pending:,}/{status.total_shown}",
                f"{status.failed:,}",
                human(status.bytes),
                ago(status.created),
            ]
            for volume, status, stopped in found
        ]
        titles = ["job", "state", "by", "samples", "failed", "downloaded", "created"]
        if several is not None:
            titles = ["volume", *titles]
        table(titles, rows, right=["samples", "failed", "downloaded"])
    else:
        say("no jobs")
    return 0


@settings()
def job(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(metavar="ID", help="The job's id.", show_default=False)],
    watch: Annotated[
        bool, typer.Option("--watch", metavar="", help="Wait for its end, with its progress.")
    ] = False,
    retry: Annotated[
        bool, typer.Option("--retry", metavar="", help="Retry failed samples and resume pending ones.")
    ] = False,
    cancel: Annotated[
        bool, typer.Option("--cancel", metavar="", help="Start no more of its downloads.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", metavar="", help="With --retry: wait for its end.")
    ] = True,
    json: Json = False,
) -> int:
    """Show a job and everything that failed of it; or watch it, retry it, cancel it."""
    if watch + retry + cancel > 1:
        raise typer.BadParameter("choose one of --watch, --retry and --cancel")
    state = State.of(ctx)
    cache = state.reachable_cache(known=True)
    handle = cache.job(job)
    if cancel:
        if handle.status().state != "running":
            say(f"job {job} has ended already: there is nothing to cancel")
        handle.cancel()
        if json:
            emit(following.describe(handle))
        else:
            put(f"job {job}: {following.summary(handle.status())}")
        return 0
    before = None
    with logs.about(job):
        if retry:
            handle.reopen()
            before = following.introduce(handle)
            if not wait:
                return following.leave(state, cache, handle, json)
            handle.start()
        if watch or retry:
            return following.follow(state, handle, json, before=before)
        return following.report(state, handle, json)
