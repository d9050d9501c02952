"""Settings: their fields, how they are read, and how they are explained.

`MediaCacheConfig` holds every setting. The modules are `fields`; `declaring`, `kinds` and `rules` (what a
setting is, and what it may be); `reading` (environment, JSON file, precedence), `explaining` (errors, masks)
and `sizes` (``50GB``, ``24h``). FiftyOne's own configuration file, where the adapter is switched on, is in
`fiftyone_config`.
"""

from forebay.config.explaining import mask_url
from forebay.config.fields import MediaCacheConfig, learn_aliases, settings_of
from forebay.config.reading import (
    CONFIG_PATH_VARIABLE,
    DEFAULT_CONFIG_PATH,
    ENV_PREFIX,
    config_path,
    env_name,
)

__all__ = [
    "CONFIG_PATH_VARIABLE",
    "DEFAULT_CONFIG_PATH",
    "ENV_PREFIX",
    "MediaCacheConfig",
    "config_path",
    "env_name",
    "learn_aliases",
    "mask_url",
    "settings_of",
]
