"""The volumes of a storm: each with a small file system of its own, which a fault can fill."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forebay.config import env_name
from tests.mounts import tmpfs

# More than the limit, so that it is the limit that binds until a fault fills the rest.
SPARE_BYTES = 6_000_000
CLAIM_TTL = 3.0


@dataclass(frozen=True)
class Volume:
    """One cache directory, and what the programs and workers that use it are told.

    Attributes:
        root: what a full disk fills: the mount point, with the cache directory in it.
        is_small: whether ``root`` is a file system of its own.
    """

    name: str
    root: Path
    is_small: bool
    settings: dict[str, Any]

    @property
    def cache_dir(self) -> Path:
        return self.root / "cache"

    @property
    def limit(self) -> int:
        return int(self.settings["cache_size_bytes"])

    def environment(self) -> dict[str, str]:
        """What a process must have to use this volume."""
        return os.environ | {
            env_name(name): value if isinstance(value, str) else json.dumps(value)
            for name, value in self.settings.items()
        }


@contextlib.contextmanager
def volumes(
    names: list[str], directory: Path, redis_url: str, allowed: str, limit: int
) -> Iterator[list[Volume]]:
    """Makes volumes of one group, each with ``limit`` bytes; without root, on the disk of ``directory``."""
    with contextlib.ExitStack() as stack:
        made = []
        for name in names:
            root = directory / name
            is_small = _mount(stack, root, limit + SPARE_BYTES)
            (root / "cache").mkdir(parents=True)
            settings = {
                "cache_dir": str(root / "cache"),
                "redis_url": redis_url,
                "volume": name,
                "group": "storm",
                "cache_size_bytes": limit,
                "claim_ttl_seconds": CLAIM_TTL,
                "grace_seconds": 0.5,
                "min_free_bytes": 0,
                "allowed_sources": [allowed],
                "read_timeout_seconds": 5,
            }
            made.append(Volume(name, root, is_small, settings))
        yield made


def _mount(stack: contextlib.ExitStack, root: Path, size: int) -> bool:
    try:
        stack.enter_context(tmpfs(root, f"size={size}"))
    except pytest.skip.Exception:
        return False
    return True
