"""Of which objects the parts that a job names lie on the volume already."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from forebay.fetch.wanted_parts import Parts, wanted_blocks
from forebay.index import Index
from forebay.uri.blocks import Version
from forebay.volume.absent_files import AbsentFiles
from forebay.volume.block_files import blocks_of
from forebay.volume.cached_entries import take_cached
from forebay.volume.files import Files


def take_warmed(index: Index, files: Files, entries: Sequence[str], wanted: Parts) -> list[bool]:
    """Which objects have blocks on the volume that hold all these bytes; those blocks count as used now.

    Args:
        entries: of objects that are not cached as a whole.

    Raises:
        IndexUnavailableError: Redis does not come back.
    """
    if isinstance(files, AbsentFiles):
        return [False] * len(entries)
    blocks = [_blocks(files, entry, wanted) for entry in entries]
    there = iter(take_cached(index, files, [name for names in blocks for name in names]))
    return [bool(names) and all(list(islice(there, len(names)))) for names in blocks]


def _blocks(files: Files, entry: str, wanted: Parts) -> list[str]:
    """The entries of those that are wanted, or of the first; none where not just one version has blocks."""
    directories = {block.rpartition("/")[0] for block in blocks_of(files, entry)}
    if len(directories) != 1:
        return []
    (directory,) = directories
    size = directory.rpartition("/")[2].partition("-")[0]
    if not size.isdecimal():
        return []
    numbers = wanted_blocks(wanted, Version(entry, int(size), ""))
    return [f"{directory}/{number}" for number in numbers or [0]]
