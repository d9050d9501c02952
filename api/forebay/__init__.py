"""Forebay: cloud media, kept right next to the GPUs.

``forebay.media_cache`` is the cache that the environment and the configuration file describe; it is
made when it is first used. Its operations are functions of this module, too. Importing this module has
no side effects.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from forebay import forks
from forebay._version import __version__

__all__ = [
    "AccessDeniedError",
    "Broadcast",
    "CacheFullError",
    "CacheStats",
    "CachedObject",
    "ChecksumError",
    "ConfigError",
    "CvatError",
    "CvatResponseError",
    "DownloadContext",
    "DownloadError",
    "Evicted",
    "Failure",
    "FiftyOneError",
    "ForebayError",
    "IndexUnavailableError",
    "Job",
    "JobNotFoundError",
    "JobState",
    "JobStatus",
    "JobTimeoutError",
    "Lease",
    "LeaseNotFoundError",
    "LeaseStatus",
    "LookAhead",
    "Manifest",
    "ManifestError",
    "MediaCache",
    "MediaCacheConfig",
    "MediaError",
    "MessageSize",
    "NoWorkersError",
    "NotModifiedError",
    "ObjectChangedError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "Parts",
    "ProgressOption",
    "ReadOnlyError",
    "SampleError",
    "ScheduleStatus",
    "ScheduledRun",
    "Schedules",
    "SourceError",
    "SourceNotAllowedError",
    "TransientSourceError",
    "UriError",
    "VolumeError",
    "VolumeNames",
    "VolumeStatus",
    "Volumes",
    "__version__",
    "clear",
    "contents",
    "create_job",
    "download_context",
    "download_media",
    "evict",
    "get_local_paths",
    "job",
    "lease",
    "leases",
    "local_path",
    "look_ahead",
    "media_cache",
    "open",
    "stats",
]

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.config import MediaCacheConfig
    from forebay.errors import (
        AccessDeniedError,
        CacheFullError,
        ChecksumError,
        ConfigError,
        CvatError,
        CvatResponseError,
        DownloadError,
        Failure,
        FiftyOneError,
        ForebayError,
        IndexUnavailableError,
        JobNotFoundError,
        JobTimeoutError,
        LeaseNotFoundError,
        ManifestError,
        MediaError,
        NotModifiedError,
        NoWorkersError,
        ObjectChangedError,
        ObjectNotFoundError,
        ObjectTooLargeError,
        ReadOnlyError,
        SampleError,
        SourceError,
        SourceNotAllowedError,
        TransientSourceError,
        UriError,
        VolumeError,
    )
    from forebay.eviction.evictor import Evicted
    from forebay.fetch.wanted_parts import Parts
    from forebay.jobs.creation import MessageSize
    from forebay.jobs.handle import Job
    from forebay.jobs.progress import ProgressOption
    from forebay.jobs.status import JobState, JobStatus
    from forebay.lookahead.context import DownloadContext
    from forebay.lookahead.window import LookAhead
    from forebay.manifests.manifest import Manifest
    from forebay.schedules.definition import ScheduledRun
    from forebay.schedules.standing import Schedules, ScheduleStatus
    from forebay.volume.contents import CachedObject
    from forebay.volume.leases import Lease, LeaseStatus
    from forebay.volume.stats import CacheStats
    from forebay.volumes.broadcast import Broadcast
    from forebay.volumes.known_volumes import VolumeNames, Volumes, VolumeStatus

    media_cache = MediaCache()
    clear = media_cache.clear
    contents = media_cache.contents
    create_job = media_cache.create_job
    download_context = media_cache.download_context
    download_media = media_cache.download_media
    evict = media_cache.evict
    get_local_paths = media_cache.get_local_paths
    job = media_cache.job
    lease = media_cache.lease
    leases = media_cache.leases
    local_path = media_cache.local_path
    look_ahead = media_cache.look_ahead
    open = media_cache.open
    stats = media_cache.stats

_HOMES = {
    "Broadcast": "forebay.volumes.broadcast",
    "CacheStats": "forebay.volume.stats",
    "CachedObject": "forebay.volume.contents",
    "DownloadContext": "forebay.lookahead.context",
    "Evicted": "forebay.eviction.evictor",
    "Failure": "forebay.errors",
    "Job": "forebay.jobs.handle",
    "JobState": "forebay.jobs.status",
    "JobStatus": "forebay.jobs.status",
    "Lease": "forebay.volume.leases",
    "LeaseStatus": "forebay.volume.leases",
    "LookAhead": "forebay.lookahead.window",
    "Manifest": "forebay.manifests.manifest",
    "MediaCache": "forebay.cache",
    "MediaCacheConfig": "forebay.config",
    "MessageSize": "forebay.jobs.creation",
    "Parts": "forebay.fetch.wanted_parts",
    "ProgressOption": "forebay.jobs.progress",
    "ScheduleStatus": "forebay.schedules.standing",
    "ScheduledRun": "forebay.schedules.definition",
    "Schedules": "forebay.schedules.standing",
    "VolumeNames": "forebay.volumes.known_volumes",
    "VolumeStatus": "forebay.volumes.known_volumes",
    "Volumes": "forebay.volumes.known_volumes",
    **{name: "forebay.errors" for name in __all__ if name.endswith("Error")},
}
# Every public method of MediaCache, except `close`, which nothing needs here, and `jobs`, which is also the
# name of a package inside this one: importing that would take the place of the function.
_OPERATIONS = frozenset(
    {
        "clear",
        "contents",
        "create_job",
        "download_context",
        "download_media",
        "evict",
        "get_local_paths",
        "job",
        "lease",
        "leases",
        "local_path",
        "look_ahead",
        "open",
        "stats",
    }
)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    # No process forks meanwhile: the child would wait for ever for the end of an import, or for the lock.
    with forks.setting_up():
        if name in globals():
            return globals()[name]
        if name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        elif name == "media_cache":
            value = import_module("forebay.cache").MediaCache()
        elif name in ("aio", "torch"):
            # No import statement, as these stand on this module.
            return import_module(f"forebay.{name}")
        elif name in _OPERATIONS:
            value = getattr(__getattr__("media_cache"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value
