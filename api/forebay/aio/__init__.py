"""Forebay for coroutines: ``await forebay.aio.local_path(uri)``.

``forebay.aio.media_cache`` is `forebay.media_cache` for coroutines, and its operations are functions of this
module, too. No coroutine keeps a thread waiting: one thread fetches what all of them wait for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import forebay
from forebay import forks
from forebay.aio.async_cache import AsyncMediaCache

__all__ = [
    "AsyncDownloadContext",
    "AsyncMediaCache",
    "download_context",
    "download_media",
    "get_local_paths",
    "local_path",
    "media_cache",
    "open",
]

if TYPE_CHECKING:
    from forebay.aio.async_context import AsyncDownloadContext

    media_cache = AsyncMediaCache(forebay.media_cache)
    download_context = media_cache.download_context
    download_media = media_cache.download_media
    get_local_paths = media_cache.get_local_paths
    local_path = media_cache.local_path
    open = media_cache.open


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    # The settings are read when the cache is first used, not by an import; and a hit loads no look-ahead.
    value: Any
    if name == "media_cache":
        value = AsyncMediaCache(forebay.media_cache)
    elif name == "AsyncDownloadContext":
        with forks.setting_up():
            value = import_module("forebay.aio.async_context").AsyncDownloadContext
    elif name in __all__:
        value = getattr(__getattr__("media_cache"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, value)
