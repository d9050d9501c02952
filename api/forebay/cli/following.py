"""Follows a job from the command line to its end, or leaves it running."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forebay import logs
from forebay.cli.output import emit, put, say, warn, writes_json
from forebay.config.sizes import count, human, span
from forebay.errors import Failure, IndexUnavailableError
from forebay.manifests.prefixes import looks_like_prefix

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.cli.shared_options import State
    from forebay.jobs.handle import Job
    from forebay.jobs.status import JobStatus

# Failures listed at the end; `forebay job` lists all.
MAX_FAILURES = 20
INTERRUPTED = 130


def introduce(job: Job, where: str = "") -> JobStatus:
    """Print the number of samples of a job and who fetches them; return its status.

    Args:
        where: put before it.
    """
    status = job.status()
    parts = [count(status.total, "sample") + (" and more, still being listed" if status.listing else "")]
    if status.cached:
        parts.append(f"{status.cached:,} cached already")
    if status.pending:
        parts.append(f"{status.pending:,} to fetch {_who(status)}")
    say(f"{where}job {status.id}: {', '.join(parts)}")
    return status


def follow(state: State, job: Job, json: bool, *, before: JobStatus | None = None) -> int:
    """Wait for a job's end with a progress bar, and report the result.

    Args:
        before: its status when it was restarted.

    Returns:
        the exit status.
    """
    # Imported here: a job that is not waited for shows no progress.
    from forebay.jobs.progress import Progress

    began, status = time.monotonic(), job.status()
    try:
        if status.state == "running":
            with Progress(transient=True, tell=say if writes_json() else None) as progress:
                job.wait(progress=progress.show)
    except KeyboardInterrupt:
        _interrupted(state, job)
        if json:
            emit(describe(job))
        return INTERRUPTED
    except IndexUnavailableError:
        if status.dispatch == "fleet":
            watch = state.command("job", job.id, "--watch")
            say(f"the fleet continues job {job.id} when Redis is available again; to watch it: {watch}")
        else:
            retry = state.command("job", job.id, "--retry")
            say(
                f"job {job.id} stops; downloaded files stay. To resume when Redis is available again: {retry}"
            )
        raise
    since = (before, time.monotonic() - began) if before is not None else None
    return report(state, job, json, max_failures=MAX_FAILURES, since=since)


def report(
    state: State,
    job: Job,
    json: bool,
    *,
    max_failures: int | None = None,
    since: tuple[JobStatus, float] | None = None,
) -> int:
    """Print the status of a job, or its result.

    Args:
        max_failures: how many failures to list; all by default.
        since: its status when it was restarted, and the seconds since then.

    Returns:
        the exit status.
    """
    status = job.status()
    failures = job.failures() if status.failed else []
    stopped = job.is_abandoned()
    if json:
        emit(describe(job, status, failures) | {"abandoned": stopped})
    else:
        list_failures(failures, max_failures=max_failures, all_of_them=state.command("job", job.id))
        put(summary(status, since))
        if status.state == "cancelled" or stopped:
            say(f"to resume it: {state.command('job', job.id, '--retry')}")
        elif status.failed:
            say(f"to retry failed samples: {state.command('job', job.id, '--retry')}")
        limit = state.config().limit
        if limit is not None and status.bytes > limit:
            warn(
                f"{human(status.bytes)} were downloaded, and the cache holds {human(limit)}: what came first "
                "has been evicted again; with --lease, a sample that finds no room fails"
            )
    return 1 if status.failed or stopped or status.state == "cancelled" else 0


def list_failures(
    failures: list[Failure], *, max_failures: int | None = None, all_of_them: str = "", where: str = ""
) -> None:
    """List the samples that failed, with the reasons.

    Args:
        max_failures: how many; all by default.
        all_of_them: the command that lists all.
        where: put after the first word.
    """
    for failure in failures[:max_failures]:
        with logs.about(failure.uri, logs.sample):
            say(f"failed{where}: {failure.uri}: {failure.reason}{_attempts(failure)}", logging.WARNING)
    if max_failures is not None and len(failures) > max_failures:
        say(
            f"and {len(failures) - max_failures:,} more{where}{all_of_them and f': {all_of_them}'}",
            logging.WARNING,
        )
    for failure in failures:
        if failure.reason.startswith("no such object") and looks_like_prefix(failure.uri):
            say(f"a prefix ends in /: {failure.uri}/ stands for all objects below it")
            break


def leave(state: State, cache: MediaCache, job: Job, json: bool) -> int:
    """Start a job, print its id, and do not wait for it.

    Returns:
        the exit status.
    """
    status = job.status()
    log = None
    if status.pending and status.dispatch == "local":
        # Imported here: only a job that goes to the background needs it.
        from forebay.jobs.detached import resume_detached

        process, log = resume_detached(
            cache.engine.files, job.id, cache.config.job_ttl_seconds, state.environment()
        )
        say(f"process {process} fetches them in the background; its output goes to {log}")
    else:
        job.start()
    if json:
        emit(describe(job) | ({"log": log} if log else {}))
    else:
        put(job.id)
        if status.pending:
            say(f"to wait for it: {state.command('job', job.id, '--watch')}")
    return 1 if status.failed else 0


def describe(
    job: Job, status: JobStatus | None = None, failures: list[Failure] | None = None
) -> dict[str, Any]:
    """A job for JSON."""
    status = status or job.status()
    failures = job.failures() if failures is None and status.failed else failures or []
    return status.as_dict() | {"failures": [asdict(failure) for failure in failures]}


def summary(status: JobStatus, since: tuple[JobStatus, float] | None = None) -> str:
    """A job in one line.

    Args:
        since: as in `report`; samples downloaded before then count as cached.
    """
    before, seconds = since or (None, status.elapsed_seconds)
    earlier, earlier_bytes = (before.downloaded, before.bytes) if before else (0, 0)
    there, downloaded = status.cached + earlier, status.downloaded - earlier
    parts = [f"{there + downloaded:,} of {count(status.total, 'sample')} cached"]
    if there:
        every = "" if there == 1 else "all "
        parts.append(f"{every if there == status.total else f'{there:,} '}already cached")
    if downloaded:
        size = human(status.bytes - earlier_bytes)
        parts.append(f"{downloaded:,} downloaded ({size} in {span(seconds)})")
    if status.failed:
        parts.append(f"{status.failed:,} failed")
    if status.state == "cancelled":
        parts.append(f"cancelled; {count(status.pending, 'sample')} not fetched")
    elif status.pending:
        parts.append(f"{status.pending:,} to go")
    return ", ".join(parts)


def _interrupted(state: State, job: Job) -> None:
    if job.status().listing:
        job.break_off_listing()
    status = job.status()
    done = f"{status.total - status.pending:,} of {count(status.total, 'sample')} done"
    if status.state != "running":
        say(f"interrupted, but job {job.id} had ended: {done}")
    elif job.runs_here:
        job.cancel()
        say(f"interrupted: job {job.id} stopped after {done}; downloaded files stay")
        say(f"  to resume it: {state.command('job', job.id, '--retry')}")
    else:
        say(f"interrupted: job {job.id} continues {_who(status)}; {done} so far")
        say(f"  to watch it:  {state.command('job', job.id, '--watch')}")
        say(f"  to cancel it: {state.command('job', job.id, '--cancel')}")


def _who(status: JobStatus) -> str:
    return "through the fleet" if status.dispatch == "fleet" else "with local threads"


def _attempts(failure: Failure) -> str:
    return f" (after {failure.attempts} attempts)" if failure.attempts > 1 else ""
