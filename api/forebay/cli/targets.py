"""Turns the targets named on the command line into URIs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.cli.output import count, say, writes_json
from forebay.errors import UriError
from forebay.manifests.listing import Filter, Listing, check_target, expand, is_prefix, uris_below
from forebay.manifests.manifest import STDIN, read_manifest
from forebay.uri import is_local

if TYPE_CHECKING:
    from forebay.cache import MediaCache

_TELL_SECONDS = 5.0

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="URI|PREFIX/|@FILE|-",
        help="Objects; prefixes that end in / (or a bucket alone); @FILE for a file of URIs as text, JSON "
        "lines or CSV; - for standard input.",
        show_default=False,
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The CSV column, or JSON key, of the URI. [dim]default: filepath, uri, url or path[/]",
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


def read_targets(targets: Sequence[str], column: str | None) -> list[str]:
    """The URIs and prefixes that the arguments name; reads manifests, and lists no prefix yet.

    Raises:
        ManifestError: a manifest has a broken line.
        UriError: an argument is no remote URI.
    """
    uris: list[str] = []
    for target in targets:
        if target == STDIN or target.startswith("@"):
            uris += read_manifest(target.removeprefix("@"), column=column)
        elif is_local(target):
            hint = f"; to read URIs from that file, write @{target}" if os.path.isfile(target) else ""
            raise UriError(
                f"{target!r} is a local path, which needs no cache; expected for instance s3://bucket/key{hint}",
                uri=target,
            )
        else:
            check_target(target)
            uris.append(target)
    return uris


def expand_targets(
    cache: MediaCache, targets: Sequence[str], include: Sequence[str] | None, exclude: Sequence[str] | None
) -> Listing:
    """List the prefixes among the URIs, and show the progress.

    Raises:
        UriError: none of the URIs is wanted.
        SourceError: a prefix cannot be listed, or there is nothing below it.
    """
    filters = Filter(include or (), exclude or ())
    with Counter("listing", "object", shown=any(map(is_prefix, targets))) as counter:
        attempts = cache.config.max_attempts
        listing = expand(cache.engine.sources, targets, filters, attempts=attempts, found=counter.show)
    if not listing.uris:
        raise UriError("none of these URIs passes --include and --exclude")
    return listing


def uris_of_targets(
    cache: MediaCache, targets: Sequence[str], include: Sequence[str] | None, exclude: Sequence[str] | None
) -> Iterator[list[str]]:
    """The URIs that the targets stand for, while they are being listed.

    Raises:
        UriError: none of the URIs is wanted.
        SourceError: a prefix cannot be listed, or there is nothing below it.
    """
    filters, found = Filter(include or (), exclude or ()), False
    for uris in uris_below(cache.engine.sources, targets, filters, attempts=cache.config.max_attempts):
        found = True
        yield uris
    if not found:
        raise UriError("none of these URIs passes --include and --exclude")


class Counter:
    """Shows the progress of an operation whose total is unknown."""

    def __init__(self, doing: str, noun: str, *, shown: bool = True) -> None:
        self._doing = doing
        self._noun = noun
        self._said = time.monotonic()
        self._status = None
        if shown and sys.stderr.isatty() and not writes_json():
            # Imported here: only a terminal shows how far a listing is.
            from rich.console import Console

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
