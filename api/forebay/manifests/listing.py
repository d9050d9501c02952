"""Expands targets: a URI stands for one object, a prefix for every object below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from forebay.errors import ObjectNotFoundError
from forebay.threads import map_in_threads
from forebay.uri import entry_of, parse, redact

if TYPE_CHECKING:
    from forebay.sources.base import ObjectInfo
    from forebay.sources.sources import Sources

_STORE = re.compile(r"(s3|gs|minio)://[^/]*(/|\Z)", re.IGNORECASE)
_MAX_LISTINGS = 8
_REPORT_EVERY = 1000


def is_prefix(target: str) -> bool:
    """Whether a target stands for all objects below it: it ends in ``/``, or is a bucket alone."""
    match = _STORE.match(target)
    return match is not None and (target.endswith("/") or match.end() == len(target))


def looks_like_prefix(target: str) -> bool:
    """Whether a target stands for an object without an extension, and may have been meant for a prefix."""
    return _STORE.match(target) is not None and not is_prefix(target) and "." not in target.rpartition("/")[2]


def check_target(target: str) -> None:
    """Checks a remote target.

    Raises:
        UriError: it names neither an object nor a prefix.
    """
    if is_prefix(target):
        parse(target)
    else:
        entry_of(target)


@dataclass(frozen=True)
class Filter:
    """Selects objects by globs over their keys, in which ``*`` matches ``/`` as well.

    A glob matches a key, or the end of one that follows a ``/``: ``*.jpg`` matches ``a/b.jpg``, and
    ``train/*`` matches ``data/train/b.jpg``.

    Attributes:
        include: an object must match one of these, if there are any.
        exclude: an object must match none of these.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def admits(self, uri: str) -> bool:
        if not self.include and not self.exclude:
            return True
        key = uri.partition("://")[2].partition("/")[2]
        return (not self.include or _matches(key, self.include)) and not _matches(key, self.exclude)


@dataclass
class Listing:
    """The objects that targets stand for.

    Attributes:
        uris: of all objects, in the order of the targets.
        known: the metadata, by URI, of the objects that were found below a prefix.
    """

    uris: list[str] = field(default_factory=list)
    known: dict[str, ObjectInfo] = field(default_factory=dict)


def expand(
    sources: Sources,
    targets: Iterable[str],
    wanted: Filter = Filter(),
    *,
    found: Callable[[int], object] = lambda _: None,
) -> Listing:
    """Lists the prefixes among targets, several at a time; everything else stands for itself.

    Args:
        found: called from time to time with the number of objects found below prefixes so far.

    Raises:
        UriError: a prefix cannot be parsed.
        ObjectNotFoundError: there is no object below a prefix, or none that the filter admits.
        SourceError: a prefix cannot be listed.
    """
    targets = list(targets)
    prefixes = list(dict.fromkeys(target for target in targets if is_prefix(target)))
    counts = dict.fromkeys(prefixes, 0)

    def walk(prefix: str) -> list[ObjectInfo]:
        infos = []
        parsed = parse(prefix)
        for info in sources.for_uri(parsed).list(parsed):
            # Consoles write an empty object to show a directory.
            if not info.uri.endswith("/") and wanted.admits(info.uri):
                infos.append(info)
                if len(infos) % _REPORT_EVERY == 0:
                    counts[prefix] = len(infos)
                    found(sum(counts.values()))
        counts[prefix] = len(infos)
        found(sum(counts.values()))
        if not infos:
            filtered = wanted.include or wanted.exclude
            raise ObjectNotFoundError(
                redact(prefix),
                "no object below it passes the filters" if filtered else "there is no object below it",
            )
        return infos

    below = dict(zip(prefixes, map_in_threads(walk, prefixes, _MAX_LISTINGS, "forebay-list"), strict=True))
    listing = Listing()
    for target in targets:
        if target in below:
            listing.uris += [info.uri for info in below[target]]
        elif wanted.admits(target):
            listing.uris.append(target)
    listing.known = {info.uri: info for infos in below.values() for info in infos}
    return listing


def _matches(key: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(key, glob) or fnmatchcase(key, f"*/{glob}") for glob in globs)
