"""Settings: their fields, how they are read, and how they are explained.

`MediaCacheConfig` holds every setting. The modules are `fields`, `reading` (environment, JSON file,
precedence), `explaining` (errors, origins, masks) and `sizes` (``50GB``, ``24h``). FiftyOne's own
configuration file, where the adapter is switched on, is in `fiftyone_config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forebay.config.explaining import mask_url
from forebay.config.reading import (
    CONFIG_PATH_VARIABLE,
    DEFAULT_CONFIG_PATH,
    ENV_PREFIX,
    config_path,
    env_name,
)

if TYPE_CHECKING:
    from forebay.config.fields import MediaCacheConfig

__all__ = [
    "CONFIG_PATH_VARIABLE",
    "DEFAULT_CONFIG_PATH",
    "ENV_PREFIX",
    "MediaCacheConfig",
    "config_path",
    "env_name",
    "mask_url",
]


def __getattr__(name: str) -> Any:
    # Pydantic takes 0.15 s to import, which masks, sizes and the help of a command do not need.
    if name != "MediaCacheConfig":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from forebay.config.fields import MediaCacheConfig

    globals()[name] = MediaCacheConfig
    return MediaCacheConfig
