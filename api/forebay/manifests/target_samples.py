"""The samples that targets stand for: objects, ranges of names, prefixes, and manifests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from forebay.engine import Engine
from forebay.errors import UriError
from forebay.jobs.listed_samples import Samples, told_last
from forebay.manifests.braces import expand_braces
from forebay.manifests.listing import expanded
from forebay.manifests.manifest import ManifestOptions, read_parts
from forebay.manifests.manifest_file import open_current
from forebay.manifests.prefixes import EVERYTHING, Filter
from forebay.manifests.rows import PART_ROWS

NONE = "none of these URIs passes --include and --exclude"
_STDIN = "-"


def samples_of_targets(
    engine: Engine,
    targets: Sequence[str],
    options: ManifestOptions,
    include: Sequence[str] | None,
    exclude: Sequence[str] | None,
) -> Iterator[Samples]:
    """The samples that targets stand for, while they are being read and listed.

    Args:
        engine: of the cache that they are for.
        targets: as those of ``forebay prefetch``.
        options: how manifests are read.
        include, exclude: patterns of the objects that are wanted, or not.

    Raises:
        ManifestError: a manifest cannot be read.
        UriError: none of the URIs is wanted.
        SourceError: a prefix cannot be listed, or there is nothing below it.
    """
    filters = Filter(include, exclude or ()) if include else Filter((), exclude) if exclude else EVERYTHING
    parts = told_last(_parts(engine, targets, options))
    any_found = False
    for samples in expanded(engine.sources, parts, filters, attempts=engine.config.max_attempts):
        any_found = True
        yield samples
    if not any_found:
        raise UriError(NONE)


def _parts(engine: Engine, targets: Sequence[str], options: ManifestOptions) -> Iterator[Samples]:
    singles = Samples()
    for target in targets:
        if target != _STDIN and not target.startswith("@"):
            for uri in expand_braces(target):
                singles.uris.append(uri)
                if len(singles) >= PART_ROWS:
                    yield singles
                    singles = Samples()
            continue
        if singles:
            yield singles
            singles = Samples()
        for name in expand_braces(target.removeprefix("@")):
            yield from read_parts(name, options, partial(open_current, engine))
    if singles:
        yield singles
