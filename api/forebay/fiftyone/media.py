"""The one place that turns a path of FiftyOne's into a file on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from typing_extensions import TypeIs

from forebay.cache import MediaCache
from forebay.errors import CacheFullError, ObjectTooLargeError
from forebay.fiftyone import plans
from forebay.lookahead.window import take_from_parent
from forebay.uri import REMOTE_SCHEMES

_REMOTE = re.compile(rf"(?:{'|'.join(REMOTE_SCHEMES)})://", re.IGNORECASE)


def is_remote(path: Any) -> TypeIs[str]:
    """Whether ``path`` is a URI that Forebay can fetch; every other path is FiftyOne's own business."""
    return isinstance(path, str) and _REMOTE.match(path) is not None


@cache
def media_cache() -> MediaCache:
    """The cache of this process, by the settings of the environment and the configuration file.

    Raises:
        ConfigError: a setting is not allowed.
    """
    return MediaCache()


def close_cache() -> None:
    """Closes the cache of this process, if there is one; whoever needs it next gets a new one."""
    if media_cache.cache_info().currsize:
        media_cache().close()
        media_cache.cache_clear()


def local(path: Any) -> Any:
    """A path at which the media can be read: itself, or where the cache has it, downloaded if need be.

    Raises:
        ForebayError: as `MediaCache.local_path`.
    """
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not is_remote(path):
        return path
    return plans.local_path(path) or _cached(path)


def _cached(uri: str) -> str:
    while True:
        try:
            return media_cache().local_path(uri)
        except ObjectTooLargeError:
            raise
        except CacheFullError:
            # What this worker of a data loader needs comes before what its parent fetches ahead.
            index = media_cache().engine.open_index()
            if not (plans.foreseen_by_parent(uri) and take_from_parent(index)):
                raise


@contextmanager
def reading(path: Any) -> Iterator[Any]:
    """As `local`, for whoever opens the file within the block, and does not pass the path on.

    It is safe until the block's end; after that it may be evicted sooner than what `local` gave.

    Raises:
        ForebayError: as `local`.
    """
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    planned = plans.reading(path) if is_remote(path) else None
    if planned is None:
        yield local(path)
    else:
        with planned as found:
            yield found
