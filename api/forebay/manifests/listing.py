"""Expands targets: a URI stands for one object, a prefix for every object below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from forebay.errors import ObjectNotFoundError
from forebay.jobs.listed_samples import Samples
from forebay.manifests.prefixes import EVERYTHING, Filter, is_prefix
from forebay.retry import retry_transient
from forebay.sources.base import ObjectInfo, Page, PageQuery, SourceLookup
from forebay.sources.listings import Start, objects_of, walk
from forebay.uri import MediaURI, parse, redact

_MAX_IN_FLIGHT = 16


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
    wanted: Filter = EVERYTHING,
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
    sources: SourceLookup, targets: Iterable[str], wanted: Filter = EVERYTHING, *, attempts: int = 1
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


def expanded(
    sources: SourceLookup, parts: Iterable[Samples], wanted: Filter = EVERYTHING, *, attempts: int = 1
) -> Iterator[Samples]:
    """Samples as they are read, in which the prefixes are listed, and those left out that are not wanted.

    Args:
        attempts: as for `expand`.

    Yields:
        some of them at a time, never none.

    Raises:
        UriError, ObjectNotFoundError, SourceError: as `expand`, where it comes to it.
    """
    for part in parts:
        prefixes = [uri for uri in part.uris if is_prefix(uri)] if any(map(_may_be_prefix, part.uris)) else []
        if not prefixes and wanted is EVERYTHING:
            yield part
            continue
        below = set(prefixes)
        kept = [n for n, uri in enumerate(part.uris) if uri not in below and wanted.admits(uri)]
        checksums = [part.checksums[n] for n in kept] if part.checksums else []
        single = Samples(
            [part.uris[n] for n in kept], checksums, part.broken, is_last=part.is_last and not prefixes
        )
        if single:
            yield single
        for _, _, _, uris in _pages(sources, list(dict.fromkeys(prefixes)), wanted, attempts):
            if uris:
                yield Samples(uris)


def _may_be_prefix(uri: str) -> bool:
    return uri[-1:] == "/" or uri.count("/") == 2


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
        roots.append(uri.root)
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
