"""Whether the places that settings name are there: without them Forebay works, and costs more."""

from __future__ import annotations

import os
from collections.abc import Iterator

from forebay.config import MediaCacheConfig, env_name

_TLS_FILES = ("group_tls_cert", "group_tls_key", "group_tls_ca")


def missing_places(config: MediaCacheConfig) -> Iterator[str]:
    """What is missing, each in a sentence with its setting and what comes of it."""
    if (upstream := config.upstream_dir) is not None and not _can_enter(upstream):
        yield (
            f"{env_name('upstream_dir')}={upstream!r} is no directory that this user can read: everything "
            "comes from the cloud; check the path and its mount"
        )
    for root in config.local_roots:
        if not _can_enter(root):
            yield (
                f"{env_name('local_roots')} names {root!r}, which is no directory that this user can read: "
                "nothing below it can be cached; check the path and its mount"
            )
    for setting in _TLS_FILES if config.group is not None else ():
        path = getattr(config, setting)
        if path is not None and not os.access(path, os.R_OK):
            yield (
                f"{env_name(setting)}={path!r} cannot be read by this user: no neighbour can be asked, "
                "and everything comes from the cloud; check the path and the file's rights"
            )


def _can_enter(directory: str) -> bool:
    return os.path.isdir(directory) and os.access(directory, os.R_OK | os.X_OK)
