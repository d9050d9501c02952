"""Expands targets: a URI stands for one object, a prefix for every object below it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter

from forebay.errors import ObjectNotFoundError
from forebay.retry import retry_transient
from forebay.sources.base import ObjectInfo, Page, PageQuery, SourceLookup
from forebay.sources.listings import Start, objects_of, walk
from forebay.uri import MediaURI, entry_of, parse, redact

_STORE = re.compile(r"(s3|gs|minio)://[^/]*(/|\Z)", re.IGNORECASE)
_MAX_IN_FLIGHT = 16


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
    sources: SourceLookup,
    targets: Iterable[str],
    wanted: Filter = Filter(),
    *,
    attempts: int = 1,
    found: Callable[[int], object] = lambda _: None,
) -> Listing:
    """Lists the prefixes among targets, several at a time; everything else stands for itself.

    Args:
        attempts: how often each page is asked for while its source fails for the moment.
        found: called from time to time with the number of objects found below prefixes so far.

    Raises:
        UriError: a prefix cannot be parsed.
        ObjectNotFoundError: there is no object below a prefix, or none that the filter admits.
        SourceError: a prefix cannot be listed.
    """
    targets = list(targets)
    prefixes = _prefixes(targets)
    below: dict[str, list[ObjectInfo]] = {prefix: [] for prefix in prefixes}
    number = 0
    for prefix, root, page, uris in _pages(sources, prefixes, wanted, attempts):
        admitted = set(uris)
        below[prefix] += [info for info in objects_of(page, root, prefix) if info.uri in admitted]
        number += len(uris)
        found(number)
    listing = Listing()
    for target in targets:
        if target in below:
            # Parts of it were listed at the same time.
            below[target].sort(key=attrgetter("uri"))
            listing.uris += [info.uri for info in below[target]]
        elif wanted.admits(target):
            listing.uris.append(target)
    listing.known = {info.uri: info for infos in below.values() for info in infos}
    return listing


def uris_below(
    sources: SourceLookup, targets: Iterable[str], wanted: Filter = Filter(), *, attempts: int = 1
) -> Iterator[list[str]]:
    """The URIs that targets stand for, as they are found: what needs no listing first, then the others in
    no particular order. Keeps a page of each listing under way.

    Args:
        attempts: as for `expand`.

    Yields:
        some of them at a time, never none.

    Raises:
        UriError, ObjectNotFoundError, SourceError: as `expand`, where it comes to it.
    """
    targets = list(targets)
    singles = [target for target in targets if not is_prefix(target) and wanted.admits(target)]
    if singles:
        yield singles
    for _, _, _, uris in _pages(sources, _prefixes(targets), wanted, attempts):
        if uris:
            yield uris


def _prefixes(targets: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(target for target in targets if is_prefix(target)))


def _pages(
    sources: SourceLookup, prefixes: Sequence[str], wanted: Filter, attempts: int
) -> Iterator[tuple[str, str, Page, list[str]]]:
    """Pages of all prefixes as they come.

    Yields:
        the prefix, what the URIs of its bucket begin with, the page, and the URIs in it that are wanted.
    """
    starts, roots = [], []
    for prefix in prefixes:
        uri = parse(prefix)
        starts.append(
            Start(uri.redacted, _asking(sources, uri, attempts), PageQuery(uri.key), by_folder=True)
        )
        roots.append(f"{uri.scheme}://{uri.bucket}/")
    empty = set(range(len(prefixes)))
    for number, page in walk(starts, in_flight=_MAX_IN_FLIGHT):
        uris = _admitted(roots[number], page, wanted)
        if uris:
            empty.discard(number)
        yield prefixes[number], roots[number], page, uris
    if empty:
        filtered = wanted.include or wanted.exclude
        raise ObjectNotFoundError(
            redact(prefixes[min(empty)]),
            "no object below it passes the filters" if filtered else "there is no object below it",
        )


def _asking(sources: SourceLookup, uri: MediaURI, attempts: int) -> Callable[[PageQuery], Page]:
    source = sources.for_uri(uri)

    def ask(query: PageQuery) -> Page:
        return retry_transient(lambda: source.page(uri, query), attempts)

    return ask


def _admitted(root: str, page: Page, wanted: Filter) -> list[str]:
    """The URIs of a page that are wanted. Consoles write an empty object to show a directory."""
    uris = [root + key for key in page.keys if key[-1:] != "/"]
    return [uri for uri in uris if wanted.admits(uri)] if wanted.include or wanted.exclude else uris


def _matches(key: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(key, glob) or fnmatchcase(key, f"*/{glob}") for glob in globs)
