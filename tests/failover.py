"""What the tests of failovers share: objects on a web server, and caches on servers that come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from tests.servers.http_server import HTTPServer


def uris_of(server: HTTPServer, count: int) -> list[str]:
    """So many small objects; the n-th holds its number 200 times."""
    return [server.put(f"/{n:05}.bin", f"{n}".encode() * 200) for n in range(count)]


def all_there(cache: MediaCache, uris: list[str]) -> bool:
    """Whether the file of each object is cached, and what it should be."""
    paths = cache.get_local_paths(uris)
    return all(Path(path).read_bytes() == f"{n}".encode() * 200 for n, path in enumerate(paths))


def cache_on(url: str, directory: Path, server: HTTPServer, **settings: Any) -> MediaCache:
    """A cache with its index at a URL."""
    defaults: dict[str, Any] = {
        "cache_dir": str(directory),
        "redis_url": url,
        "num_workers": 4,
        "grace_seconds": 0.0,
        "min_free_bytes": 0,
        "allowed_sources": [f"{server.endpoint}/"],
    }
    return MediaCache(MediaCacheConfig(**(defaults | settings)))
