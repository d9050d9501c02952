"""The cache of a volume that another machine has."""

from __future__ import annotations

from typing import Any

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.engine import Engine, close_at_exit
from forebay.volume.absent_files import AbsentFiles


class AbsentCache(MediaCache):
    """The cache of such a volume: only its index and its fleet can be used."""

    def __init__(self, config: MediaCacheConfig, files: AbsentFiles) -> None:
        super().__init__(config)
        self.engine = Engine(config, files)
        close_at_exit(self.engine)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.config, self.engine.files)
