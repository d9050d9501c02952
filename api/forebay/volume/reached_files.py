"""Which files were reached without a link on the way to them."""

from __future__ import annotations

import os

from forebay.volume.beneath import Beneath

_MAX_FILES = 100_000


class ReachedFiles:
    """Tells whether a file is reached without a link on the way. Safe for threads.

    To look for links takes half as long as all the rest of a hit. So this is not done again for a file that
    is still the one that was reached without.

    Args:
        beneath: looks for links.
    """

    def __init__(self, beneath: Beneath) -> None:
        self._beneath = beneath
        # What tells each file from others, by its path.
        self._known: dict[str, int] = {}

    def __call__(self, path: str, found: os.stat_result) -> bool:
        known = hash((found.st_ino, found.st_dev, found.st_mtime_ns))
        if self._known.get(path) != known:
            if not self._beneath.is_same(path, found):
                return False
            if len(self._known) >= _MAX_FILES:
                self._known.clear()
            self._known[path] = known
        return True
