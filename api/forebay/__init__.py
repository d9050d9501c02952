"""Forebay: cloud media, kept right next to the GPUs.

``forebay.media_cache`` is the cache that the environment and the configuration file describe; it is
made when it is first used. Its operations are functions of this module, too. Importing this module has
no side effects.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from forebay._version import __version__

__all__ = [
    "Job",
    "JobStatus",
    "Lease",
    "MediaCache",
    "MediaCacheConfig",
    "Volumes",
    "__version__",
    "clear",
    "download_context",
    "download_media",
    "get_local_paths",
    "lease",
    "local_path",
    "media_cache",
    "open",
    "stats",
]

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.config import MediaCacheConfig
    from forebay.jobs.handle import Job
    from forebay.jobs.status import JobStatus
    from forebay.volume.leases import Lease
    from forebay.volumes.volumes import Volumes

    media_cache = MediaCache()
    local_path = media_cache.local_path
    get_local_paths = media_cache.get_local_paths
    download_media = media_cache.download_media
    download_context = media_cache.download_context
    stats = media_cache.stats
    clear = media_cache.clear
    lease = media_cache.lease
    open = media_cache.open

_HOMES = {
    "MediaCache": "forebay.cache",
    "MediaCacheConfig": "forebay.config",
    "Job": "forebay.jobs.handle",
    "JobStatus": "forebay.jobs.status",
    "Lease": "forebay.volume.leases",
    "Volumes": "forebay.volumes.volumes",
}
_OPERATIONS = {
    "local_path",
    "get_local_paths",
    "download_media",
    "download_context",
    "stats",
    "clear",
    "lease",
    "open",
}
_lock = threading.Lock()


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name == "media_cache":
        cache_class = import_module("forebay.cache").MediaCache
        with _lock:
            value = globals().get(name) or cache_class()
            globals()[name] = value
    elif name in _OPERATIONS:
        value = getattr(__getattr__("media_cache"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
