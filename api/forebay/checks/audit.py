"""Comparing a listing with the cache, before a prefetch or after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forebay.errors import ForebayError, ObjectNotFoundError, SourceError
from forebay.fetch.transfer import unchanged
from forebay.index import Entry
from forebay.jobs.jobs import Failure
from forebay.retry import retry_transient
from forebay.threads import map_in_threads
from forebay.uri import entry_of, is_local, local_file, parse, redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.manifests.listing import Listing
    from forebay.sources.base import ObjectInfo

# Asking for headers is waiting for answers, far more than it is work.
_THREADS = 32
_TELL_EVERY = 100

State = Literal["cached", "missing", "stale", "damaged", "unknown"]


@dataclass
class Estimate:
    """What a prefetch would have before it; sizes in bytes. An object that is named twice counts once.

    Attributes:
        total, bytes: objects in all.
        cached, cached_bytes: those that are there.
        missing, missing_bytes: those that would be downloaded.
        unsized: how many of the missing ones have a size that their source does not tell.
        failures: those whose source could not be asked.
    """

    total: int = 0
    bytes: int = 0
    cached: int = 0
    cached_bytes: int = 0
    missing: int = 0
    missing_bytes: int = 0
    unsized: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Finding:
    """How one object is.

    Attributes:
        uri: its URI, without secrets.
        state: ``cached``; ``missing``; ``stale``: changed at its source, or gone there; ``damaged``: its file
            is not what was downloaded; ``unknown``: its source could not be asked.
        reason: why, where there is more to say.
    """

    uri: str
    state: State
    reason: str = ""


@dataclass
class _Copy:
    """An object, and what is cached of it."""

    uri: str
    file: os.stat_result | None
    entry: Entry | None


def estimate(
    cache: MediaCache,
    listing: Listing,
    *,
    update: bool = False,
    asked: Callable[[int], object] = lambda _: None,
) -> Estimate:
    """What prefetching a listing would mean; downloads nothing.

    Args:
        update: as in the prefetch: what changed at its source counts as missing.
        asked: told now and then how many sources have been asked.
    """
    result = Estimate()
    copies = _copies(cache, listing.uris)
    wanted = [copy.uri for copy in copies if (update or copy.file is None) and not is_local(copy.uri)]
    infos = dict(zip(wanted, _ask(cache, listing, wanted, asked), strict=True))
    for copy in copies:
        result.total += 1
        info = infos.get(copy.uri)
        if isinstance(info, ForebayError):
            result.failures.append(_failure(copy.uri, info))
        elif copy.file is None and info is None:
            result.failures.append(Failure(copy.uri, "there is no such local file", 1))
        elif copy.file is not None and (info is None or _is_current(info, copy)):
            result.cached += 1
            result.cached_bytes += copy.file.st_size
        elif info is not None:
            result.missing += 1
            result.missing_bytes += info.size or 0
            result.unsized += info.size is None
    result.bytes = result.cached_bytes + result.missing_bytes
    return result


def verify(
    cache: MediaCache,
    listing: Listing,
    *,
    remote: bool = False,
    asked: Callable[[int], object] = lambda _: None,
) -> Iterator[Finding]:
    """How each object of a listing is, in order. An object that is named twice counts once.

    What was found below a prefix is compared with what the source said then.

    Args:
        remote: whether to ask the sources about all others that are cached, too.
        asked: as in `estimate`.
    """
    copies = _copies(cache, listing.uris)
    wanted = [
        copy.uri
        for copy in copies
        if copy.file is not None and not is_local(copy.uri) and (remote or copy.uri in listing.known)
    ]
    infos = dict(zip(wanted, _ask(cache, listing, wanted, asked), strict=True))
    for copy in copies:
        yield Finding(redact(copy.uri), *_judge(copy, infos.get(copy.uri)))


def _judge(copy: _Copy, info: ObjectInfo | ForebayError | None) -> tuple[State, str]:
    if copy.file is None:
        return "missing", ""
    size = copy.file.st_size
    if copy.entry is not None and copy.entry.size != size:
        return "damaged", f"its file has {size:,} bytes, and {copy.entry.size:,} were downloaded"
    if isinstance(info, ObjectNotFoundError):
        return "stale", "it is no longer at its source"
    if isinstance(info, ForebayError):
        return "unknown", _reason(info)
    if info is not None and not _is_current(info, copy):
        return "stale", "it has changed at its source"
    return "cached", ""


def _copies(cache: MediaCache, uris: Sequence[str]) -> list[_Copy]:
    """What is cached of each object; each once."""
    entries: dict[str, str] = {}
    for uri in uris:
        entries.setdefault(uri if is_local(uri) else entry_of(uri), uri)
    remote = [entry for entry, uri in entries.items() if not is_local(uri)]
    values = dict(zip(remote, cache.volume.index.values(remote), strict=True))
    copies = []
    for entry, uri in entries.items():
        if is_local(uri):
            copies.append(_Copy(uri, _stat(local_file(uri)), None))
        else:
            copies.append(_Copy(uri, _stat(cache.volume.locate(entry)), values[entry]))
    return copies


def _stat(path: str | None) -> os.stat_result | None:
    try:
        return None if path is None else os.stat(path)
    except OSError:
        return None


def _ask(
    cache: MediaCache, listing: Listing, uris: Sequence[str], asked: Callable[[int], object]
) -> list[ObjectInfo | ForebayError]:
    """What the sources say of objects, or why they do not."""
    answers = 0

    def ask(uri: str) -> ObjectInfo | ForebayError:
        nonlocal answers
        info = listing.known.get(uri)
        if info is not None:
            return info
        try:
            return _head(cache, uri)
        except ForebayError as error:
            return error
        finally:
            answers += 1
            if answers % _TELL_EVERY == 0:
                asked(answers)

    return map_in_threads(ask, uris, _THREADS, "forebay-ask")


def _head(cache: MediaCache, uri: str) -> ObjectInfo:
    parsed = parse(uri)
    return retry_transient(lambda: cache.sources.for_uri(parsed).head(parsed), cache.config.max_attempts)


def _is_current(info: ObjectInfo | ForebayError, copy: _Copy) -> bool:
    if isinstance(info, ForebayError) or copy.file is None:
        return False
    return unchanged(info, copy.entry or Entry(copy.file.st_size), copy.file.st_mtime)


def _failure(uri: str, error: ForebayError) -> Failure:
    attempts = error.attempts if isinstance(error, SourceError) else 1
    return Failure(redact(uri), _reason(error), attempts)


def _reason(error: ForebayError) -> str:
    return error.reason if isinstance(error, SourceError) else str(error)
