"""What the integration tests share: a Redis, and caches on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.uri import entry_of
from forebay.uri.local_roots import forget_roots
from tests.servers.embedded import eventually
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey

MakeCache = Callable[..., MediaCache]

# A process that ends in the middle of a round leaves its lock behind, which expires.
_MAINTENANCE_LOCK_SECONDS = 60.0


def maintain(cache: MediaCache) -> None:
    """Does one round of maintenance; waits for another process that is at it, or was when it died."""
    maintenance = cache.engine.open_maintenance()
    eventually(lambda: maintenance.run(force=True), _MAINTENANCE_LOCK_SECONDS + 10)


def age_worker(cache: MediaCache, name: str, seconds: float) -> None:
    """Puts a worker's last heartbeat back by so many seconds, as if it had been silent since."""
    index = cache.engine.open_index()
    record = json.loads(index.connection.command("hget", index.keys.workers, name))
    record |= {"seen": record["seen"] - seconds, "progress": record["progress"] - seconds}
    index.connection.command("hset", index.keys.workers, name, json.dumps(record))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A new Redis server: `url`, `client`, `restart`, `stop`, `pause`."""
    with running_valkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def no_roots() -> Iterator[None]:
    """Forgets the `local_roots` of a test: a process remembers those of all its caches."""
    yield
    forget_roots()
    entry_of.cache_clear()


@pytest.fixture
def make_cache(tmp_path: Path, valkey: Valkey) -> Iterator[MakeCache]:
    """Makes caches on one volume, as several programs would; settings are arguments."""
    made: list[MediaCache] = []

    def make(**settings: Any) -> MediaCache:
        defaults: dict[str, Any] = {
            "cache_dir": str(tmp_path / "cache"),
            "redis_url": valkey.url,
            "dispatch": "local",
            "num_workers": 4,
            "grace_seconds": 0.0,
            "min_free_bytes": 0,
            "allowed_sources": ["s3://", "gs://", "http://127.0.0.1/"],
        }
        made.append(MediaCache(MediaCacheConfig(**(defaults | settings))))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def cache(make_cache: MakeCache) -> MediaCache:
    """One cache with local dispatch and no grace period."""
    return make_cache()
