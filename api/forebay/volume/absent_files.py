"""The files of a volume by its settings, and those of one that this machine does not have."""

from __future__ import annotations

from forebay.config import MediaCacheConfig
from forebay.errors import VolumeError
from forebay.new_directories import DIRECTORY_MODE, SHARED_DIRECTORY_MODE
from forebay.uri import Layout
from forebay.volume.files import Files


class AbsentFiles(Files):
    """The files of a volume that another machine has: its index can be asked, its files cannot be touched.

    Args:
        place: where the directory is, as ``host:directory``.
        volume: the volume's name, for errors.
    """

    def __init__(self, place: str, volume: str) -> None:
        super().__init__(place)
        self.place = place
        self._volume = volume

    def layout(self) -> Layout:
        """Always raises `VolumeError`, which says where the files are."""
        raise VolumeError(
            f"volume {self._volume!r} is not on this machine: it is {self.place}; its workers can "
            "fill it (--dispatch fleet), its files are there only",
            volume=self._volume,
        )


def files_of(config: MediaCacheConfig) -> Files:
    """The files of the volume that the settings name."""
    mode = SHARED_DIRECTORY_MODE if config.group_writable else DIRECTORY_MODE
    return Files(config.cache_dir, config.min_free_bytes, mode)
