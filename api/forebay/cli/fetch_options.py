"""The options that say what is fetched of each object: which bytes, and whether copies are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forebay.config.freshness import Update as Wanted
from forebay.config.sizes import parse_duration

if TYPE_CHECKING:
    from forebay.fetch.wanted_parts import Parts

Update = Annotated[
    bool,
    typer.Option("--update", metavar="", help="Fetch again objects that have changed at their source."),
]
MaxAge = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The same, of those only that were not checked for so long: 12h, 7d."),
]
Head = Annotated[
    str | None, typer.Option(metavar="BYTES", help="Only so many bytes at each object's beginning: 16MiB.")
]
Tail = Annotated[str | None, typer.Option(metavar="BYTES", help="Only so many bytes at its end.")]
Ranges = Annotated[
    list[str] | None,
    typer.Option("--range", metavar="A-B", help="Only bytes from A up to B, or A- to the end; repeatable."),
]


def update_of_options(update: bool, max_age: str | None, *, dry_run: bool = False) -> Wanted:
    """What the options say of copies that are there already.

    Raises:
        typer.BadParameter: they exclude each other.
        NotAllowedError: the maximum age is no duration.
    """
    if max_age is None:
        return update
    if update or dry_run:
        raise typer.BadParameter(f"--max-age goes without --{'update' if update else 'dry-run'}")
    return parse_duration(max_age)


def parts_of_options(head: str | None, tail: str | None, ranges: list[str] | None) -> Parts | None:
    """The parts of objects that the options name; ``None`` for the whole."""
    if head is None and tail is None and not ranges:
        return None
    from forebay.fetch.wanted_parts import Parts

    return Parts(head or 0, tail or 0, ranges or ())
