"""A directory that is looked into before the cloud, and never written: a NAS, or another volume."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from forebay.config import MediaCacheConfig
from forebay.uri import Layout, MediaURI
from forebay.volume.beneath import Beneath


class Upstream:
    """The files of one upstream directory.

    Args:
        directory: with ``media/<scheme>/<bucket>/<key>``, as a volume has it, or ``<scheme>/<bucket>/<key>``.

    Attributes:
        beneath: reaches them.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory.rstrip("/") or "/"
        self.beneath = Beneath(self._directory)
        self._is_volume: bool | None = None

    def find(self, uri: MediaURI, entry: str) -> tuple[str, os.stat_result] | None:
        """The path and the status of the file of an object, if there is one. Links are not followed."""
        for path in self._places(uri, entry):
            with contextlib.suppress(OSError, ValueError):
                found = self.beneath.status(path)
                if stat.S_ISREG(found.st_mode):
                    return path, found
        return None

    def _places(self, uri: MediaURI, entry: str) -> Iterator[str]:
        if self._is_volume is None:
            self._is_volume = os.path.isdir(f"{self._directory}/media")
        if self._is_volume:
            layout = Layout(self._directory)
            yield layout.path(entry)
            yield layout.alternate_path(entry)
            return
        yield f"{self._directory}/{entry}"
        # Other programs do not escape what entries do.
        plain = f"{uri.scheme}/{uri.bucket}/{uri.key}"
        if plain != entry and not uri.query and "\0" not in plain:
            yield f"{self._directory}/{plain}"


def upstream_of(config: MediaCacheConfig) -> Upstream | None:
    """The upstream directory of the settings, if there is one."""
    return None if config.upstream_dir is None else Upstream(config.upstream_dir)
