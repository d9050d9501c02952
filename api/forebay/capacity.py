"""How many processes that download this machine, or container, has CPUs and memory for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from forebay.errors import ConfigError
from forebay.uri import shown

# What one took at most with 8 downloads of large objects at a time, and some more: docs/benchmarks.md.
WORKER_BYTES = 640 << 20
# Of the processes of one supervisor. More than that is a slip of the pen, under which a machine breaks down.
MOST = 512


def parse(text: str) -> int:
    """The number of processes that ``--processes`` asks for.

    Raises:
        ConfigError: the text is neither a number from 1 to `MOST` nor ``auto``.
    """
    if text == "auto":
        return auto()
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and 0 < int(text) <= MOST):
        what = f"--processes {shown(text)} is not a number of processes"
        raise ConfigError(f"{what}: write 1 to {MOST}, or auto")
    return int(text)


def auto(root: Path = Path("/")) -> int:
    """One process for each CPU that this process may use, as far as the memory goes; at least one.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    memory: list[float] = [_physical_memory(), *_memory_limits(root)]
    return max(1, min(cpus(root), int(min(memory) // WORKER_BYTES)))


def cpus(root: Path = Path("/")) -> int:
    """The CPUs that this process may use, by its affinity and the quotas of its control groups; at least one.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    return max(1, int(min([_cpus(), *_quotas(root)])))


def _cpus() -> int:
    # macOS has no affinity.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _quotas(root: Path) -> Iterator[float]:
    """The CPUs that each control group allows to this process."""
    for group in _groups(root, "cpu"):
        both = _words(group / "cpu.max")
        both = both or _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
        # Without a quota, the first word is `max`, or -1.
        if len(both) == 2 and all(word.isdecimal() and int(word) for word in both):
            yield int(both[0]) / int(both[1])


def _memory_limits(root: Path) -> Iterator[int]:
    """The bytes that each control group allows to this process."""
    for group in _groups(root, "memory"):
        for word in _words(group / "memory.max") or _words(group / "memory.limit_in_bytes"):
            if word.isdecimal():
                yield int(word)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The directories of the control groups that this process is in, those above them included.

    In a container the paths of version 1 are the machine's; there only the last directory, the root, exists.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        # Version 2 has one hierarchy for all controllers, which the line does not name.
        if controllers and controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / controllers
        relative = Path(path.lstrip("/"))
        yield from (base / part for part in (relative, *relative.parents))


def _words(file: Path) -> list[str]:
    return _text(file).split()


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text()
    return ""
