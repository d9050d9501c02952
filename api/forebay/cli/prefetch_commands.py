"""``forebay prefetch`` and ``forebay get``."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forebay import logs
from forebay.cli import fetch_options, following, targets, volume_commands
from forebay.cli.output import Json, emit, put, say, warn
from forebay.cli.shared_options import State, settings
from forebay.config.freshness import Update
from forebay.config.sizes import count, human, parse_duration
from forebay.errors import ObjectNotFoundError, UriError
from forebay.manifests.prefixes import is_prefix
from forebay.uri import redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.fetch.wanted_parts import Parts
    from forebay.manifests.listing import Listing

_EPILOG = """
[bold]Examples[/]

forebay prefetch s3://bucket/train/ --include '*.jpg'

forebay prefetch @manifest.csv --column image --lease 24h

forebay prefetch @s3://bucket/train.parquet --column image --checksum-column md5

forebay prefetch @annotations/instances_train.json --root s3://bucket/train/

forebay prefetch 's3://bucket/shard-{0000..0123}.tar'

forebay prefetch @manifest.txt --volume node-a,node-b

forebay prefetch s3://bucket/labels/ --max-age 12h

forebay prefetch s3://bucket/videos/ --head 16MiB --tail 1MiB

cut -f2 table.tsv | forebay prefetch - --no-wait
"""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command(epilog=_EPILOG)(prefetch)
    app.command()(get)


@settings("dispatch", "num_workers", "bwlimit", "volume")
def prefetch(
    ctx: typer.Context,
    uris: targets.Targets,
    include: targets.Include = None,
    exclude: targets.Exclude = None,
    column: targets.Column = None,
    checksum_column: targets.ChecksumColumn = None,
    root: targets.Root = None,
    list_kind: targets.ListKind = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", metavar="", help="Wait for the end, or print the job's id and leave."
        ),
    ] = True,
    lease: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Keep all samples from eviction for this time: 90s, 30m, 24h, 7d."),
    ] = None,
    update: fetch_options.Update = False,
    max_age: fetch_options.MaxAge = None,
    head: fetch_options.Head = None,
    tail: fetch_options.Tail = None,
    ranges: fetch_options.Ranges = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Only print the total and the missing size.")
    ] = False,
    message_size: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Samples in one message to the fleet.")
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(metavar="high|normal|low", help="Which of two jobs for the same workers comes first."),
    ] = None,
    quota: Annotated[
        str | None,
        typer.Option(metavar="LABEL=SIZE", help="How much of the volume all jobs with this label may take."),
    ] = None,
    json: Json = False,
) -> int:
    """Bring objects into the cache: through the fleet of workers, or with threads of this process.

    With --volume a,b or --volume all, into several, each by its own workers.
    """
    state = State.of(ctx)
    names = state.volumes()
    if names is not None and dry_run:
        raise typer.BadParameter("--dry-run looks at one volume: name one with --volume")
    if names is not None and checksum_column is not None:
        raise typer.BadParameter("--checksum-column takes one volume: name one with --volume")
    parts = fetch_options.parts_of_options(head, tail, ranges)
    if parts is not None and dry_run:
        raise typer.BadParameter("--dry-run tells the sizes of whole objects: leave the parts out")
    targets.check_targets(uris)
    options = targets.options_of(column, checksum=checksum_column, root=root, kind=list_kind)
    how = fetch_options.update_of_options(update, max_age, dry_run=dry_run)
    if lease is not None:
        parse_duration(lease)
    given = {"message_size": message_size, "priority": priority, "quota": quota}
    state.given.update((name, value) for name, value in given.items() if value is not None)
    if names is not None:
        wanted = targets.read_targets(state, uris, column, root, list_kind)
        return _several(
            state,
            names,
            wanted,
            include,
            exclude,
            wait=wait,
            lease=lease,
            update=how,
            parts=parts,
            json=json,
        )
    cache = state.reachable_cache()
    if dry_run:
        wanted = targets.read_targets(state, uris, column, root, list_kind)
        return _dry_run(cache, targets.expand_targets(cache, wanted, include, exclude), update, json)
    found = targets.samples_of_targets(cache, uris, options, include, exclude)
    if wait:
        found = cache.engine.expect_listed(found)
    maker = cache.engine.open_job_maker()
    if wait:
        job = maker.create_listing(found, update=how, lease=lease, parts=parts)
    else:
        # This process exits at once, so all samples are listed before.
        with targets.Counter("listing", "object", shown=any(map(is_prefix, uris))) as counter:
            job = maker.create_listed(counter.counted(found), update=how, lease=lease, parts=parts)
    with logs.about(job.id):
        following.introduce(job)
        if not wait:
            return following.leave(state, cache, job, json)
        job.start()
        return following.follow(state, job, json)


def _several(
    state: State,
    names: list[str] | Literal["all"],
    wanted: list[str],
    include: list[str] | None,
    exclude: list[str] | None,
    *,
    wait: bool,
    lease: str | None,
    update: Update,
    parts: Parts | None,
    json: bool,
) -> int:
    # Imported here: a prefetch into one volume does without Celery.
    from forebay.volumes import broadcast
    from forebay.volumes.known_volumes import Volumes

    caches, skipped = Volumes(state.config()).choose(names)
    # Sources are the same for all of them; listing needs no volume.
    listing = targets.expand_targets(next(iter(caches.values())), wanted, include, exclude)
    jobs = broadcast.create(caches, listing.uris, update=update, lease=lease, parts=parts, skipped=skipped)
    volume_commands.introduce(jobs)
    if not wait:
        return volume_commands.leave(state, jobs, json)
    jobs.start()
    return volume_commands.follow(state, jobs, json)


def _dry_run(cache: MediaCache, listing: Listing, update: bool, json: bool) -> int:
    # Imported here: only --dry-run needs it.
    from forebay.checks.audit import estimate_prefetch

    with targets.Counter("asking for sizes", "object") as counter:
        found = estimate_prefetch(cache, listing, update=update, asked=counter.show)
    if json:
        emit(asdict(found))
    else:
        following.list_failures(found.failures, max_failures=following.MAX_FAILURES)
        put(f"{count(found.total, 'object')}, {human(found.bytes)}")
        put(f"  cached     {found.cached:>9,}  {human(found.cached_bytes):>8}")
        put(f"  to fetch   {found.missing:>9,}  {human(found.missing_bytes):>8}")
        if found.failures:
            put(f"  failing    {len(found.failures):>9,}")
        if found.unsized:
            say(f"the sources of {count(found.unsized, 'object')} do not tell a size")
        limit = cache.config.limit
        if limit is not None and found.bytes > limit:
            warn(f"this is larger than the cache ({human(limit)}): only the last part would stay cached")
    return 1 if found.failures else 0


@settings()
def get(
    ctx: typer.Context,
    uri: Annotated[str, typer.Argument(metavar="URI", help="The object.", show_default=False)],
    json: Json = False,
) -> int:
    """Print the path of a cached file; download it first where it is missing."""
    if is_prefix(uri):
        shown = redact(uri)
        raise UriError(
            f"{shown} is a prefix, and get takes one object: `forebay prefetch {shown}` takes all below it",
            uri=shown,
        )
    path = State.of(ctx).cache().local_path(uri)
    if not os.path.exists(path):
        raise ObjectNotFoundError(uri, "there is no such local file")
    if json:
        emit({"uri": redact(uri), "path": path})
    else:
        put(path)
    return 0
