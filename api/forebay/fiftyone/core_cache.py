"""The media cache of this process; with the adapter on, this module is ``fiftyone.core.cache``.

::

    import fiftyone.core.cache as foc

    print(foc.media_cache.stats())
    foc.media_cache.clear()
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.fiftyone import hooks, local_media


class _LazyObject:
    """Forwards to an object that is made when it is first used.

    So a setting that is not allowed raises at that use, and does not keep FiftyOne from being imported.
    """

    def __init__(self, get: Callable[[], Any]) -> None:
        self._get = get

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get(), name)

    def __dir__(self) -> list[str]:
        return dir(self._get())

    def __repr__(self) -> str:
        return repr(self._get())


class _LazyCache(_LazyObject):
    """The cache, with the name by which plugins ask it for the path of a file."""

    def get_local_path(self, filepath: str) -> str:
        """As `MediaCache.local_path`."""
        return local_media.media_cache().local_path(filepath)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), "get_local_path"})


media_cache = cast(MediaCache, _LazyCache(local_media.media_cache))
media_cache_config = cast(MediaCacheConfig, _LazyObject(lambda: local_media.media_cache().config))

hooks.add("fiftyone", "media_cache")(media_cache)
hooks.add("fiftyone", "media_cache_config")(media_cache_config)


@hooks.replace("fiftyone.core", "cache", new=True)
def become_a_module_of_fiftyone(_: Any) -> ModuleType:
    module = sys.modules["fiftyone.core.cache"] = sys.modules[__name__]
    return module
