"""How much is measured: everything, or what takes two minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scale:
    """Numbers of objects and rounds.

    Attributes:
        rounds: of every comparison.
        objects, size: of the many small objects, and the bytes of each.
        large: bytes of the one large object.
        names: keys of the listing.
        cached: objects of a second prefetch.
        entries: of the large index; 0 for leaving it out.
        evicted: files.
        quick: whether rows are left out that no budget needs.
        directory: where the files go; in memory unless it is given.
        only: rows whose names contain one of these, if there are any.
    """

    rounds: int = 5
    objects: int = 5000
    size: int = 100_000
    large: int = 2_000_000_000
    names: int = 60_000
    cached: int = 50_000
    entries: int = 1_000_000
    evicted: int = 50_000
    quick: bool = False
    directory: Path | None = None
    only: tuple[str, ...] = ()


FULL = Scale()
QUICK = Scale(rounds=3, objects=3000, large=256_000_000, cached=5000, entries=0, evicted=20_000, quick=True)
