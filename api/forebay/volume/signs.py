"""The sign of an evictor on a file that it is about to remove; see `forebay.volume.leaving`."""

from __future__ import annotations

import os
import stat

LEAVING = stat.S_ISVTX
"""A bit that means nothing on files."""


def is_leaving(found: os.stat_result) -> bool:
    """Whether a file bears the sign."""
    return bool(found.st_mode & LEAVING)
