"""The one place that turns a path or URI of FiftyOne's into a file on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from forebay.cache import MediaCache
from forebay.errors import CacheFullError, ObjectTooLargeError
from forebay.fiftyone import active_plans
from forebay.fiftyone.media_uris import is_remote
from forebay.lookahead.parent_leases import take_from_parent

# Long enough for ffmpeg, or an upload to CVAT, to read all of its files.
_LEASE_SECONDS = 3600.0


@cache
def media_cache() -> MediaCache:
    """The cache of this process, with the settings of the environment and the configuration file.

    Raises:
        ConfigError: a setting is not allowed.
    """
    return MediaCache()


def close_cache() -> None:
    """Closes the cache of this process, if there is one; the next use opens a new one."""
    if media_cache.cache_info().currsize:
        media_cache().close()
        media_cache.cache_clear()


def local_path(path: Any) -> Any:
    """The local path of media: the cached copy of a remote file, downloaded if needed, or ``path`` itself.

    Raises:
        ForebayError: as `MediaCache.local_path`.
    """
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not is_remote(path):
        return path
    return active_plans.local_path(path) or _cached(path)


def _cached(uri: str) -> str:
    while True:
        try:
            return media_cache().local_path(uri)
        except ObjectTooLargeError:
            raise
        except CacheFullError:
            # A data loader's worker needs this file now; its parent can fetch ahead later.
            if not (
                active_plans.is_fetched_by_parent(uri) and take_from_parent(media_cache().engine.open_index())
            ):
                raise


@contextmanager
def path_for_reading(path: Any) -> Iterator[Any]:
    """As `local_path`, for a file that is opened within the block and not passed on.

    The file is kept until the block ends; after that it may be evicted sooner than one from `local_path`.

    Raises:
        ForebayError: as `local_path`.
    """
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    planned = active_plans.path_for_reading(path) if is_remote(path) else None
    if planned is None:
        yield local_path(path)
    else:
        with planned as found:
            yield found


@contextmanager
def leased_paths(paths: list[Any]) -> Iterator[list[Any]]:
    """The local paths of several media, whose cached copies are all kept until the block ends.

    Raises:
        ForebayError: as `local_path`.
    """
    remote = [path for path in paths if is_remote(path)]
    if not remote:
        yield paths
        return
    with media_cache().lease(remote, _LEASE_SECONDS):
        yield [local_path(path) for path in paths]
