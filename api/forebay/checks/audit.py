"""Audits a listing: compares its objects with their cached copies, before a prefetch or after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forebay.errors import Failure, ForebayError, ObjectNotFoundError, SourceError
from forebay.fetch.kept_copy import has_checksums
from forebay.fetch.refusals import unchanged
from forebay.index import Entry
from forebay.retry import retry_transient
from forebay.threads import map_in_threads
from forebay.uri import entry_of, is_local, local_file, parse, redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.manifests.listing import Listing
    from forebay.sources.base import ObjectInfo

# Mostly waiting for answers, so far more threads than CPUs.
_THREADS = 32
_REPORT_EVERY = 100

AuditState = Literal["cached", "missing", "stale", "damaged", "unknown"]


@dataclass
class PrefetchEstimate:
    """The work that a prefetch would have to do; sizes in bytes. An object that is named twice counts once.

    Attributes:
        total, bytes: all objects.
        cached, cached_bytes: those that are cached.
        missing, missing_bytes: those that would be downloaded.
        unsized: how many of the missing ones have a size that their source does not tell.
        failures: those whose source did not answer, or refused.
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
class AuditResult:
    """The state of one object's copy.

    Attributes:
        uri: its URI, without secrets.
        state: ``cached``; ``missing``; ``stale``: changed at its source, or gone there; ``damaged``: its file
            has another size than was downloaded; ``unknown``: its source did not answer, or refused.
        reason: the cause; empty where the state says it all.
    """

    uri: str
    state: AuditState
    reason: str = ""


@dataclass
class _Copy:
    """An object, its cached file and its entry in the index."""

    uri: str
    path: str
    file: os.stat_result | None
    entry: Entry | None


def estimate_prefetch(
    cache: MediaCache,
    listing: Listing,
    *,
    update: bool = False,
    asked: Callable[[int], object] = lambda _: None,
) -> PrefetchEstimate:
    """Estimates the work of prefetching a listing; downloads nothing.

    Args:
        update: as in the prefetch: an object that changed at its source counts as missing.
        asked: called from time to time with the number of objects whose source has been asked.
    """
    result = PrefetchEstimate()
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


def audit(
    cache: MediaCache,
    listing: Listing,
    *,
    remote: bool = False,
    asked: Callable[[int], object] = lambda _: None,
) -> Iterator[AuditResult]:
    """Compares each object of a listing with its copy, in order. An object that is named twice counts once.

    Objects that were found below a prefix are compared with the metadata from that listing.

    Args:
        remote: whether to ask the sources about all other cached objects, too.
        asked: as in `estimate_prefetch`.
    """
    copies = _copies(cache, listing.uris)
    wanted = [
        copy.uri
        for copy in copies
        if copy.file is not None and not is_local(copy.uri) and (remote or copy.uri in listing.known)
    ]
    infos = dict(zip(wanted, _ask(cache, listing, wanted, asked), strict=True))
    for copy in copies:
        yield AuditResult(redact(copy.uri), *_judge(copy, infos.get(copy.uri)))


def _judge(copy: _Copy, info: ObjectInfo | ForebayError | None) -> tuple[AuditState, str]:
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
    """The cached copy of each object; each object once."""
    entries: dict[str, str] = {}
    for uri in uris:
        entries.setdefault(uri if is_local(uri) else entry_of(uri), uri)
    remote = [entry for entry, uri in entries.items() if not is_local(uri)]
    values = dict(zip(remote, cache.engine.open_index().entries.values(remote), strict=True))
    copies = []
    for entry, uri in entries.items():
        if is_local(uri):
            copies.append(_Copy(uri, local_file(uri), _stat(local_file(uri)), None))
        else:
            path = cache.engine.files.locate(entry) or ""
            copies.append(_Copy(uri, path, _stat(path), values[entry]))
    return copies


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _ask(
    cache: MediaCache, listing: Listing, uris: Sequence[str], asked: Callable[[int], object]
) -> list[ObjectInfo | ForebayError]:
    """The metadata of each object from its source, or the error that asking for it raised."""
    answers = 0

    def ask(uri: str) -> ObjectInfo | ForebayError:
        nonlocal answers
        try:
            return _head(cache, uri)
        except ForebayError as error:
            return error
        finally:
            answers += 1
            if answers % _REPORT_EVERY == 0:
                asked(answers)

    known = listing.known
    # A lock for each object that a listing has told about would take longer than everything else.
    unknown = [uri for uri in uris if uri not in known]
    asked_for = dict(zip(unknown, map_in_threads(ask, unknown, _THREADS, "forebay-ask"), strict=True))
    return [known.get(uri) or asked_for[uri] for uri in uris]


def _head(cache: MediaCache, uri: str) -> ObjectInfo:
    parsed = parse(uri)
    source = cache.engine.sources.for_uri(parsed)
    return retry_transient(lambda: source.head(parsed), cache.config.max_attempts)


def _is_current(info: ObjectInfo | ForebayError, copy: _Copy) -> bool:
    if isinstance(info, ForebayError) or copy.file is None:
        return False
    if unchanged(info, copy.entry or Entry(copy.file.st_size), copy.file.st_mtime):
        return True
    # An update keeps what has the source's checksum, too.
    with contextlib.suppress(OSError):
        return has_checksums(copy.path, info)
    return False


def _failure(uri: str, error: ForebayError) -> Failure:
    attempts = error.attempts if isinstance(error, SourceError) else 1
    return Failure(redact(uri), _reason(error), attempts)


def _reason(error: ForebayError) -> str:
    return error.reason if isinstance(error, SourceError) else str(error)
