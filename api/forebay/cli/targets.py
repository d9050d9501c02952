"""Turns the targets named on the command line into URIs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from forebay.cli.output import say, writes_json
from forebay.config.sizes import count
from forebay.errors import ManifestError, UriError
from forebay.manifests.braces import expand_braces
from forebay.manifests.prefixes import Filter, check_target, is_prefix
from forebay.uri import is_local, local_file, shown

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.cli.shared_options import State
    from forebay.jobs.listed_samples import Samples
    from forebay.manifests.listing import Listing
    from forebay.manifests.manifest import ManifestOptions

STDIN = "-"
_TELL_SECONDS = 5.0
# What one argument may stand for where all of it is kept in memory.
_MAX_NAMES = 10_000_000

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="URI|PREFIX/|@FILE|-",
        help="Objects; ranges as a-{000..123}.tar; prefixes that end in / (or a bucket alone); @FILE for a "
        "manifest, a local file or an object; - for standard input.",
        show_default=False,
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The column, or JSON key, of the URI. [dim]default: filepath, uri, url or path; file_name "
        "(COCO, image folders)[/]",
        show_default=False,
    ),
]
ChecksumColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The column, or JSON key, of MD5, SHA-256 or CRC-32C; a download that differs fails.",
    ),
]
Root = Annotated[
    str | None,
    typer.Option(metavar="URI/", help="Where relative names are. [dim]default: beside the manifest[/]"),
]
ListKind = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="The manifest is text, csv, tsv, jsonl, parquet, coco, fiftyone, imagefolder or yolo. "
        "[dim]default: as its name and beginning tell[/]",
        show_default=False,
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Only objects that match, as *.jpg or train/*; may be repeated."),
]
Exclude = Annotated[
    list[str] | None, typer.Option(metavar="GLOB", help="No objects that match; may be repeated.")
]


def read_targets(
    state: State, targets: Sequence[str], column: str | None, root: str | None = None, kind: str | None = None
) -> list[str]:
    """The URIs and prefixes that the arguments name; reads manifests, and lists no prefix yet.

    Args:
        column, root, kind: as `options_of` takes them.

    Raises:
        ManifestError: a manifest has a broken row.
        UriError: an argument is no remote URI.
    """
    check_targets(targets)
    uris: list[str] = []
    for target in targets:
        if target == STDIN or target.startswith("@"):
            # Imported here and below: help and completion need nothing that moves bytes.
            from forebay.manifests.manifest import read_uris
            from forebay.manifests.manifest_file import open_current

            def open_remote(uri: str) -> BinaryIO:
                return open_current(state.reachable_cache().engine, uri)

            options = options_of(column, root=root, kind=kind)
            for name in expand_braces(target.removeprefix("@"), _MAX_NAMES):
                uris += read_uris(name, options, open_remote)
        else:
            uris += expand_braces(target, _MAX_NAMES)
    return uris


def options_of(
    column: str | None, *, checksum: str | None = None, root: str | None = None, kind: str | None = None
) -> ManifestOptions:
    """How manifests are read.

    Raises:
        UriError: ``root`` or ``kind`` is not allowed.
    """
    from forebay.manifests.manifest import ManifestOptions

    return ManifestOptions(column, checksum, root, kind)  # type: ignore[arg-type]  # it looks at the kind


def check_targets(targets: Sequence[str]) -> None:
    """Looks at the arguments, before anything is opened.

    Raises:
        ManifestError: a local manifest does not exist.
        UriError: an argument is no remote URI.
    """
    for target in targets:
        if target == STDIN:
            continue
        for each in islice(expand_braces(target), 1):
            if each.startswith("@"):
                path = each[1:]
                if is_local(path) and not os.path.exists(local_file(path)):
                    raise ManifestError(f"the manifest {path} does not exist", file=path)
            elif is_local(each):
                hint = f"; to read URIs from that file, write @{each}" if os.path.isfile(each) else ""
                raise UriError(
                    f"{shown(each)} is a local path, which needs no cache; expected for instance s3://bucket/key{hint}",
                    uri=each,
                )
            else:
                check_target(each)


def expand_targets(
    cache: MediaCache, targets: Sequence[str], include: Sequence[str] | None, exclude: Sequence[str] | None
) -> Listing:
    """List the prefixes among the URIs, and show the progress.

    Raises:
        UriError: none of the URIs is wanted.
        SourceError: a prefix cannot be listed, or there is nothing below it.
    """
    from forebay.manifests.listing import expand
    from forebay.manifests.target_samples import NONE

    filters = Filter(include or (), exclude or ())
    with Counter("listing", "object", shown=any(map(is_prefix, targets))) as counter:
        attempts = cache.config.max_attempts
        listing = expand(cache.engine.sources, targets, filters, attempts=attempts, found=counter.show)
    if not listing.uris:
        raise UriError(NONE)
    return listing


def samples_of_targets(
    cache: MediaCache,
    targets: Sequence[str],
    options: ManifestOptions,
    include: Sequence[str] | None,
    exclude: Sequence[str] | None,
) -> Iterator[Samples]:
    """The samples that the arguments stand for; see `forebay.manifests.target_samples`."""
    from forebay.manifests.target_samples import samples_of_targets as found

    return found(cache.engine, targets, options, include, exclude)


class Counter:
    """Shows the progress of an operation whose total is unknown."""

    def __init__(self, doing: str, noun: str, *, shown: bool = True) -> None:
        self._doing = doing
        self._noun = noun
        self._said = time.monotonic()
        self._status = None
        if shown and not writes_json() and sys.stderr.isatty():
            # Imported here: only a terminal shows how far a listing is.
            from rich.console import Console

            from forebay.jobs.notebook import draws_over

            if not draws_over(sys.stderr):
                return
            self._status = Console(stderr=True).status(f"{doing} …", spinner_style="dim")

    def __enter__(self) -> Counter:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, number: int) -> None:
        text = f"{self._doing} … {count(number, self._noun)}"
        if self._status is not None:
            self._status.update(text)
        elif time.monotonic() - self._said > _TELL_SECONDS:
            self._said = time.monotonic()
            say(text)

    def counted(self, found: Iterator[Samples]) -> Iterator[Samples]:
        """The same samples; shows how many there were so far."""
        number = 0
        for samples in found:
            number += len(samples)
            self.show(number)
            yield samples
