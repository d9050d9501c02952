"""Blocks of so few bytes that small objects have many, for tests that do thousands of things with them."""

from __future__ import annotations

import pytest

from forebay.fetch import wanted_parts
from forebay.parts import block_reader, part_file, versions
from forebay.uri import blocks


def use_small_blocks(patch: pytest.MonkeyPatch, size: int) -> None:
    """Has a block hold ``size`` bytes until the patch is undone."""
    for module in (blocks, block_reader, part_file, versions, wanted_parts):
        patch.setattr(module, "BLOCK_BYTES", size)
