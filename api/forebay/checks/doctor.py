"""Checks everything that a cache needs, and says what to do about what is missing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from forebay import embedded
from forebay.cache import MediaCache
from forebay.checks.named_places import missing_places
from forebay.config import fiftyone_config, fiftyone_versions, mask_url
from forebay.config.sizes import count, human
from forebay.errors import ForebayError, IndexUnavailableError, VolumeError
from forebay.index import Index
from forebay.index.connection import Connection
from forebay.index.queues import check_channels, count_set_aside, set_aside_key
from forebay.index.topology import topology
from forebay.jobs.celery_app import KEY_PREFIX, broker_url, queue_name
from forebay.jobs.dispatcher import STUCK_SECONDS
from forebay.manifests.prefixes import is_prefix
from forebay.uri import is_local, parse
from forebay.volume.absent_files import AbsentFiles
from forebay.volumes.absent import AbsentCache
from forebay.volumes.known_volumes import Volumes

CheckState = Literal["ok", "warning", "wrong"]

_MIN_REDIS_VERSION = (6, 2)
_SLOW_SECONDS = 0.02
_PROBE_SECONDS = 5.0
_MIN_FREE_INODES = 10_000
# Access times come from the clocks of many machines, and leases from that of Redis.
_MAX_CLOCK_SKEW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: ``ok``; ``warning``: it works, but not as well as it might; ``wrong``: it does not work.
        message: the finding, and what to do about it.
    """

    name: str
    state: CheckState
    message: str


def examine(cache: MediaCache, uri: str | None = None) -> Iterator[CheckResult]:
    """Makes the checks one after the other; one that fails does not stop the others.

    Starts the embedded index if there is no other, and makes the cache directory; changes nothing else. If
    Redis does not know the configured volume, while it knows others, the check does not create it.

    Args:
        uri: an object or a prefix that must be readable, too.
    """
    found = [*_volume(cache), *_redis(cache)]
    yield from found
    if _fine(found):
        yield from _tried("index", _index_and_fleet(cache))
    yield _space(cache)
    yield from (CheckResult("places", "warning", missing) for missing in missing_places(cache.config))
    yield from _tried("fiftyone", _fiftyone())
    if uri is not None:
        yield from _access(cache, uri)
        yield _source(cache, uri)


def _tried(name: str, checks: Iterator[CheckResult]) -> Iterator[CheckResult]:
    """Makes checks; what ends them early is one more finding."""
    try:
        yield from checks
    except ForebayError as error:
        yield CheckResult(name, "wrong", str(error))


def _index_and_fleet(cache: MediaCache) -> Iterator[CheckResult]:
    unnamed = _unnamed(cache)
    found = [CheckResult("index", "warning", unnamed)] if unnamed else list(_index(cache))
    yield from found
    if unnamed:
        # Opened as if another machine had it, it can be asked without being made.
        absent = AbsentFiles("nowhere", cache.config.volume)
        with closing(AbsentCache(cache.config, absent)) as looked_at:
            yield from _tried("broker", _broker(looked_at))
            yield from _tried("workers", _workers(looked_at))
    elif _fine(found):
        yield from _tried("broker", _broker(cache))
        yield from _tried("workers", _workers(cache))


def _fine(found: Iterable[CheckResult]) -> bool:
    return all(finding.state != "wrong" for finding in found)


def _volume(cache: MediaCache) -> Iterator[CheckResult]:
    config = cache.config
    try:
        cache.engine.files.prepare()
    except ForebayError as error:
        yield _unwritable(cache, error)
        return
    yield CheckResult("volume", "ok", f"{config.cache_dir} can be written")


def _unwritable(cache: MediaCache, error: ForebayError) -> CheckResult:
    """Tells a volume that this user shares with its owner from one that cannot be used here."""
    try:
        cache.engine.check_writable()
    except VolumeError as reason:
        state: CheckState = "wrong" if not cache.engine.is_open else "warning"
        return CheckResult("volume", state, str(reason))
    except ForebayError:
        # The checks of Redis say what is wrong with it.
        pass
    return CheckResult("volume", "wrong", str(error))


def _space(cache: MediaCache) -> CheckResult:
    """Compares the free space of the disk with the space that the cache may still take."""
    config, used = cache.config, 0
    if cache.engine.is_open:
        with contextlib.suppress(ForebayError):
            used = cache.engine.open_index().entries.totals().published
    try:
        media = os.path.join(config.cache_dir, "media")
        found = os.statvfs(media if os.path.isdir(media) else config.cache_dir)
    except OSError as error:
        return CheckResult("space", "wrong", f"free disk space cannot be read: {error.strerror}")
    free = found.f_bavail * found.f_frsize
    if free < config.min_free_bytes:
        return CheckResult(
            "space",
            "wrong",
            f"{human(free)} of the disk are free, and downloads leave {human(config.min_free_bytes)}: free "
            "some space, or lower FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES",
        )
    if found.f_files and not found.f_favail:
        return CheckResult(
            "space",
            "wrong",
            "the disk has no inodes left: remove files, or use a file system with more inodes",
        )
    if found.f_files and found.f_favail < _MIN_FREE_INODES:
        return CheckResult(
            "space",
            "warning",
            f"the disk has room for {found.f_favail:,} more files only: use a file system with more inodes",
        )
    if config.limit is None or config.limit - used > free - config.min_free_bytes:
        growth = "has no limit" if config.limit is None else f"may grow to {human(config.limit)}"
        return CheckResult(
            "space",
            "warning",
            f"{human(free)} of the disk are free, and the cache {growth}: Forebay evicts only when less than "
            f"{human(config.min_free_bytes)} is free; lower FIFTYONE_MEDIA_CACHE_SIZE_BYTES to leave more",
        )
    return CheckResult(
        "space", "ok", f"{human(free)} of the disk are free; the cache may take {human(config.limit)}"
    )


def _fiftyone() -> Iterator[CheckResult]:
    """Says whether the adapter refuses the FiftyOne that is installed, without switching it on."""
    version = fiftyone_versions.installed()
    refusal = None if version is None else fiftyone_versions.refusal(version)
    if refusal is not None:
        enabled = fiftyone_config.MODULE in fiftyone_config.modules()
        yield CheckResult("fiftyone", "wrong" if enabled else "warning", refusal)


def _redis(cache: MediaCache) -> Iterator[CheckResult]:
    config = cache.config
    try:
        if config.redis_url is None:
            url, what = embedded.ensure_running(config.cache_dir), "the embedded index"
        else:
            url, what = config.redis_url, f"Redis at {mask_url(config.redis_url)}"
        opened = Connection(url)
        connection = Index(opened, config.volume).connection
        try:
            # Refuses a policy under which Redis may drop keys, too.
            connection.check()
            behind = topology(connection)
            info = connection.server()
            sent = time.monotonic()
            connection.ping()
            delay = time.monotonic() - sent
            server_time = connection.time()
        finally:
            opened.close()
    except ForebayError as error:
        yield CheckResult("redis", "wrong", str(error))
        return
    version = str(info.get("valkey_version") or info["redis_version"])
    if tuple(map(int, str(info["redis_version"]).split(".")[:2])) < _MIN_REDIS_VERSION:
        yield CheckResult("redis", "wrong", f"{what} is version {version}: use 6.2 or newer")
        return
    yield CheckResult(
        "redis", "ok", f"{what}, version {version}, noeviction, answers in {delay * 1000:.1f} ms"
    )
    if behind is not None:
        yield CheckResult(behind.kind, "ok", behind.summary)
        yield from (CheckResult(behind.kind, "warning", warning) for warning in behind.warnings)
    if delay > _SLOW_SECONDS:
        yield CheckResult("redis", "warning", "it answers slowly: run it close to the workers")
    memory, max_memory = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if max_memory and memory > 0.9 * max_memory:
        yield CheckResult(
            "redis", "warning", f"it uses {human(memory)} of maxmemory {human(max_memory)}: raise maxmemory"
        )
    skew = time.time() - server_time
    if abs(skew) > _MAX_CLOCK_SKEW_SECONDS + delay:
        yield CheckResult(
            "clock", "warning", f"this machine's clock is {skew:+.0f} s off that of Redis: set both by NTP"
        )


def _unnamed(cache: MediaCache) -> str:
    """Why the volume must not be created by a check; empty where it exists, or may be created."""

    with closing(Volumes(cache.config)) as volumes:
        try:
            volumes.check_known()
        except VolumeError as error:
            return str(error)
    return ""


def _index(cache: MediaCache) -> Iterator[CheckResult]:
    try:
        index = cache.engine.open_index()
        totals, leases = index.entries.totals(), cache.leases()
        with index.locks.hold(index.keys.upkeep, _PROBE_SECONDS):
            # Whether scripts may run, and write: without them, only looking works.
            pass
    except ForebayError as error:
        yield CheckResult("index", "wrong", str(error))
        return
    limit = cache.config.limit
    used = totals.published + totals.reserved + totals.unindexed
    of = "no limit" if limit is None else human(limit)
    yield CheckResult("index", "ok", f"{count(totals.count, 'object')}, {human(used)} of {of}")
    if limit and totals.leased > 0.9 * limit:
        names = ", ".join(lease.name for lease in leases[:5])
        yield CheckResult(
            "leases",
            "warning",
            f"leases ({names}) keep {human(totals.leased)} of {of}, so almost nothing can be evicted: "
            "end one with `forebay lease end`, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES",
        )


def _broker(cache: MediaCache) -> Iterator[CheckResult]:
    url = broker_url(cache.config, cache.engine.open_index().connection.url)
    connection = Connection(url, queue=True)
    queue = KEY_PREFIX + queue_name(cache.config)
    try:
        connection.check()
        check_channels(connection, KEY_PREFIX)
        waiting = cache.engine.open_dispatcher().queue_length()
        aside = count_set_aside(connection, queue)
    except IndexUnavailableError as error:
        yield CheckResult("broker", "wrong", str(error))
    else:
        yield CheckResult("broker", "ok", f"{mask_url(url)}, {count(waiting, 'message')} in the queue")
        if aside:
            key = set_aside_key(queue)
            yield CheckResult(
                "broker",
                "warning",
                f"set aside, as no worker reads it: {count(aside, 'message')}; somebody else writes to the "
                f"queue, or it was damaged; `LRANGE {key} 0 9` shows the newest with reasons, and "
                f"`DEL {key}` forgets all that was set aside",
            )
    finally:
        connection.close()


def _workers(cache: MediaCache) -> Iterator[CheckResult]:
    known = cache.engine.open_index().workers.all()
    alive = [worker for worker in known if worker.alive]
    gone = [worker for worker in known if not worker.alive]
    try:
        dispatch, threads = cache.engine.open_dispatcher().choose()
    except ForebayError as error:
        yield CheckResult("workers", "wrong", str(error))
        return
    if dispatch == "fleet":
        names = ", ".join(worker.name for worker in alive[:5]) + (", …" if len(alive) > 5 else "")
        yield CheckResult("workers", "ok", f"{len(alive)} alive with {threads} threads: {names}")
    elif alive and cache.config.dispatch == "auto":
        yield CheckResult(
            "workers",
            "wrong",
            f"{len(alive)} alive, but none has taken a message for {STUCK_SECONDS:.0f} s: restart them",
        )
    else:
        yield CheckResult(
            "workers",
            "ok",
            f"downloads run with {threads} threads of the calling process"
            + ("" if alive else "; for a fleet, start workers with `forebay worker`"),
        )
    if gone:
        names = ", ".join(worker.name for worker in gone[:5])
        yield CheckResult("workers", "warning", f"no heartbeat from: {names}; see their logs")


def _access(cache: MediaCache, uri: str) -> Iterator[CheckResult]:
    """Says with which credentials a URI is read, and why; what is wrong with them is the source's finding."""
    if is_local(uri):
        return
    with contextlib.suppress(ForebayError):
        parsed = parse(uri)
        yield CheckResult("access", "ok", f"{parsed.redacted}: {cache.engine.sources.explain(parsed)}")


def _source(cache: MediaCache, uri: str) -> CheckResult:

    try:
        if is_local(uri):
            state: CheckState = "ok" if os.path.exists(uri) else "wrong"
            return CheckResult("source", state, f"{uri} is a local path, which is used as it is")
        parsed = parse(uri)
        source = cache.engine.sources.for_uri(parsed)
        if is_prefix(uri):
            first = next(source.list(parsed), None)
            what = "can be listed" + ("" if first else ", but there is nothing below it")
            return CheckResult("source", "ok" if first else "warning", f"{parsed.redacted} {what}")
        # The answer to HEAD would not say why it refuses.
        info = source.read_start(parsed, 1).info
    except ForebayError as error:
        return CheckResult("source", "wrong", str(error))
    size = "of unknown size" if info.size is None else human(info.size)
    limit = cache.config.limit
    if limit is not None and info.size is not None and info.size > limit:
        return CheckResult(
            "source", "wrong", f"{parsed.redacted} is larger than the whole cache: {size} and {human(limit)}"
        )
    return CheckResult("source", "ok", f"{parsed.redacted} can be read ({size})")
