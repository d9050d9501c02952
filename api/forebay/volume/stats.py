"""How full a cache is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, cast

from forebay.config import MediaCacheConfig
from forebay.config.sizes import human
from forebay.index import Index
from forebay.tables import Described


class CacheStats(TypedDict):
    """How full a cache is, or how much of it some entries take.

    Attributes:
        cache_dir: the cache directory.
        cache_size: its maximum size, in bytes; -1 for no limit.
        cache_size_str: the same with a unit, such as ``128.0GB``, or ``no limit``.
        current_size: bytes in the cache.
        current_size_str: the same with a unit.
        current_count: number of cached objects.
        load_factor: ``current_size`` divided by ``cache_size``; 0.0 without a limit.
    """

    cache_dir: str
    cache_size: int
    cache_size_str: str
    current_size: int
    current_size_str: str
    current_count: int
    load_factor: float


def cache_stats(index: Index, config: MediaCacheConfig, entries: Sequence[str] | None = None) -> CacheStats:
    """How full the cache is, or how much of it these entries take."""
    if entries is None:
        totals = index.entries.totals()
        size, count = totals.published, totals.count
    else:
        known = [value for value in index.entries.values(entries) if value is not None]
        size, count = sum(value.size for value in known), len(known)
    limit = config.cache_size_bytes
    stats: CacheStats = {
        "cache_dir": config.cache_dir,
        "cache_size": limit,
        "cache_size_str": human(limit) if limit >= 0 else "no limit",
        "current_size": size,
        "current_size_str": human(size),
        "current_count": count,
        "load_factor": size / limit if limit > 0 else 0.0,
    }
    return cast(CacheStats, Described(stats, _shown))


def _shown(stats: dict[str, Any]) -> dict[str, str]:
    full = "" if stats["cache_size"] < 0 else f" ({stats['load_factor']:.1%})"
    return {
        "cache directory": stats["cache_dir"],
        "objects": f"{stats['current_count']:,}",
        "size": f"{stats['current_size_str']} of {stats['cache_size_str']}{full}",
    }
