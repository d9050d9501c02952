"""Where transfers write to."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.config import MediaCacheConfig
from forebay.index import Index
from forebay.volume.files import Files
from forebay.volume.session import Session
from forebay.volume.unread import UnreadPrefetches


@dataclass(frozen=True, slots=True)
class Destination:
    """Where transfers write to, and with which settings."""

    index: Index
    session: Session
    files: Files
    unread: UnreadPrefetches
    config: MediaCacheConfig
