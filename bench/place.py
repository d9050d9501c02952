"""Where the benchmarks put what they read and what they write."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")


def clean_up_when_terminated() -> None:
    """Ends this process by an exception on SIGTERM, so that servers and directories are removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextlib.contextmanager
def scratch(size: int, wanted: Path | None) -> Iterator[Path]:
    """A directory with room for ``size`` bytes, removed afterwards.

    In memory where there is room: what a machine writes back to its disk drowns everything else.

    Args:
        wanted: where the directory is to be made.
    """
    parent = wanted or (_MEMORY if _room(_MEMORY) > 1.2 * size else Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix="forebay-bench-", dir=parent) as directory:
        yield Path(directory).resolve()


def _room(directory: Path) -> int:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return 0
