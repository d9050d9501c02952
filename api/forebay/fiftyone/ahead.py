"""Downloads ahead of a loop."""

from __future__ import annotations


def local_path(uri: str) -> str | None:
    """Where a URI lies that a plan foresees; ``None`` when none does."""
    return None
