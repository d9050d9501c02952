"""What parts need of an engine."""

from __future__ import annotations

from typing import Protocol

from forebay.config import MediaCacheConfig
from forebay.eviction.clearing import Clearing
from forebay.fetch.fetcher import Fetcher
from forebay.index import Index
from forebay.sources.sources import Sources
from forebay.volume.counters import Counters
from forebay.volume.files import Files
from forebay.volume.session import Session


class Holder(Protocol):
    """The part of `forebay.engine.Engine` that is used here."""

    config: MediaCacheConfig
    files: Files
    counters: Counters

    @property
    def sources(self) -> Sources:
        """Where bytes come from."""

    def local_path(self, uri: str) -> str:
        """The path of an object's cached file, or of a local one."""

    def open_index(self) -> Index:
        """The index."""

    def open_session(self) -> Session:
        """This process's session."""

    def open_fetcher(self) -> Fetcher:
        """The fetcher."""

    def open_clearing(self) -> Clearing:
        """The clearing."""
