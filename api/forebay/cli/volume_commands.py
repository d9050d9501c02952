"""``forebay volumes``, and the output of ``forebay prefetch`` for several volumes."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay import logs
from forebay.cli import following
from forebay.cli.output import Json, ago, emit, put, say, table, warn, writes_json
from forebay.cli.shared_options import State, settings
from forebay.config.sizes import count, human

if TYPE_CHECKING:
    from forebay.volumes.broadcast import Broadcast
    from forebay.volumes.known_volumes import VolumeStatus

_EPILOG = """
[bold]Examples[/]

forebay volumes

forebay prefetch @manifest.txt --volume node-a,node-b

forebay volumes --forget node-b
"""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(epilog=_EPILOG)(volumes)


@settings("redis_url")
def volumes(
    ctx: typer.Context,
    forget: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Remove what Redis knows of a volume that is no longer used; its files stay where they are.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the volumes of the Redis: size, use, workers alive, rate of the last minute, and place."""
    # Imported here, so that --help and the other commands of this module start without it.
    from forebay.volumes.known_volumes import Volumes

    known = Volumes(State.of(ctx).config())
    if forget is not None:
        known.forget(forget)
        if json:
            emit({"forgotten": forget})
        else:
            put(f"volume {forget} is forgotten; its files are still there")
        return 0
    found = known.list()
    if json:
        emit([asdict(status) for status in found])
    elif found:
        titles = ["volume", "used", "limit", "full", "objects", "workers", "rate", "seen", "where"]
        table(titles, [_row(status) for status in found], right=titles[1:7])
    else:
        say("no volumes: a volume is listed as soon as a worker or a program has used it")
    return 0


def _row(status: VolumeStatus) -> list[str]:
    limited = status.limit > 0
    return [
        status.name,
        human(status.size),
        human(status.limit) if status.limit >= 0 else "none",
        f"{status.size / status.limit:.0%}" if limited else "",
        f"{status.objects:,}",
        f"{status.workers:,}",
        f"{human(round(status.bytes_per_second))}/s",
        f"stale, {ago(status.seen)}" if status.stale else "now",
        f"{status.host}:{status.directory}",
    ]


def introduce(jobs: Broadcast) -> None:
    """Print the number of samples for each volume, and the volumes that are left out."""
    for volume, why in jobs.skipped.items():
        warn(f"volume {volume} is left out: {why}")
    for volume, job in jobs.jobs.items():
        with logs.about(job.id):
            following.introduce(job, f"volume {volume}, ")


def leave(state: State, jobs: Broadcast, json: bool) -> int:
    """Start the jobs, print the volume and id of each, and do not wait for them.

    Returns:
        the exit status.
    """
    jobs.start()
    if json:
        emit(_describe(jobs))
    else:
        for volume, job in jobs.jobs.items():
            put(f"{volume} {job.id}")
            say(f"to wait for it: {_command(state, volume, job.id, '--watch')}")
    return 1 if jobs.status().failed else 0


def follow(state: State, jobs: Broadcast, json: bool) -> int:
    """Wait for the jobs' end with one progress bar, and report the result of each.

    Returns:
        the exit status.
    """
    # Imported here: a job that is not waited for shows no progress.
    from forebay.jobs.progress import Progress

    try:
        if jobs.status().state == "running":
            tell = say if writes_json() else None
            with Progress(transient=True, name=count(len(jobs.jobs), "volume"), tell=tell) as progress:
                jobs.wait(progress=progress.show)
    except KeyboardInterrupt:
        _interrupted(state, jobs)
        if json:
            emit(_describe(jobs))
        return following.INTERRUPTED
    return _report(state, jobs, json)


def _report(state: State, jobs: Broadcast, json: bool) -> int:
    statuses = jobs.statuses()
    if json:
        emit(_describe(jobs))
    else:
        for volume, failures in jobs.failures().items():
            of_all = _command(state, volume, jobs.jobs[volume].id)
            with logs.about(jobs.jobs[volume].id):
                following.list_failures(
                    failures, max_failures=following.MAX_FAILURES, all_of_them=of_all, where=f" on {volume}"
                )
        for volume, error in jobs.errors.items():
            say(f"failed on {volume}: {error}", logging.WARNING)
        for volume, status in statuses.items():
            put(f"{volume}: {following.summary(status)}")
            if status.failed or status.state != "done":
                retry = _command(state, volume, status.id, "--retry")
                say(f"to try on {volume} what failed or is left: {retry}")
    bad = any(status.failed or status.state != "done" for status in statuses.values())
    return 1 if bad or jobs.errors else 0


def _describe(jobs: Broadcast) -> dict[str, Any]:
    total = jobs.status().as_dict()
    for of_one in ("id", "lease", "dispatch", "created"):
        del total[of_one]
    return total | {
        "volumes": {volume: following.describe(job) for volume, job in jobs.jobs.items()},
        "errors": {volume: str(error) for volume, error in jobs.errors.items()},
        "skipped": jobs.skipped,
    }


def _interrupted(state: State, jobs: Broadcast) -> None:
    for volume, job in jobs.jobs.items():
        status = job.status()
        done = f"{status.total - status.pending:,} of {count(status.total, 'sample')} done"
        if status.state != "running":
            say(f"interrupted, but the job of {volume} had ended: {done}")
        elif job.runs_here:
            job.cancel()
            say(f"interrupted: the job of {volume} stopped after {done}")
            say(f"  to resume it: {_command(state, volume, job.id, '--retry')}")
        else:
            say(f"interrupted: the job of {volume} continues through its fleet; {done} so far")
            say(f"  to watch it:  {_command(state, volume, job.id, '--watch')}")
            say(f"  to cancel it: {_command(state, volume, job.id, '--cancel')}")


def _command(state: State, volume: str, job: str, *options: str) -> str:
    return state.command("job", job, *options, "--volume", volume)
