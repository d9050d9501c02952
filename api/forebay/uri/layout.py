"""Maps entry names to paths of one volume, and back."""

from __future__ import annotations

import os
import re

from forebay.uri.entry import MAX_SEGMENT_BYTES, is_entry
from forebay.uri.redaction import REMOTE_SCHEMES

_CAPITAL_OR_WIDE = re.compile(r"[A-Z\u0080-\U0010ffff]")
_FOLDED = re.compile(r"%\^(10[0-9a-f]{4}|[0-9a-f]{1,5});")
_TOO_LONG = re.compile(rf"[^/]{{{MAX_SEGMENT_BYTES}}}(?=[^/])")
_CUT = "%+/%+"


class Layout:
    """The paths of a volume: its directories, and the file of each entry.

    Args:
        cache_dir: the volume's directory.
        fold_case: for a file system on which ``A`` and ``a`` are one, or two ways to write ``é``:
            capitals and everything outside ASCII become ``%^<code>;``, and a name that grows too long
            by that becomes several, with ``%+`` at every cut.
    """

    def __init__(self, cache_dir: str, *, fold_case: bool = False) -> None:
        self.cache_dir = cache_dir
        self.media_dir = os.path.join(cache_dir, "media")
        self.private_dir = os.path.join(cache_dir, ".forebay")
        self.temporary_dir = os.path.join(self.private_dir, "tmp")
        self.fold_case = fold_case
        self._prefix = self.media_dir + "/"

    def path(self, entry: str) -> str:
        """The path of an entry's file, unless another entry's directory or file occupies it."""
        return self._prefix + (_fold(entry) if self.fold_case else entry)

    def alternate_path(self, entry: str) -> str:
        """The path to use instead of `path` where the two collide: another key's file is where this entry
        needs a directory, or a directory is where it needs its file."""
        scheme, bucket, *directories, name = self.path(entry)[len(self._prefix) :].split("/")
        return self._prefix + "/".join([scheme, *(d + "%" for d in (bucket, *directories)), name])

    def entry(self, path: str) -> str | None:
        """The entry whose file lies at ``path``, or ``None`` if no entry maps to it."""
        if not path.startswith(self._prefix):
            return None
        parts = path[len(self._prefix) :].split("/")
        if len(parts) < 3 or parts[0] not in REMOTE_SCHEMES:
            return None
        if parts[1].endswith("%"):
            if not all(part.endswith("%") for part in parts[1:-1]):
                return None
            parts = [parts[0], *(part[:-1] for part in parts[1:-1]), parts[-1]]
        entry = "/".join(parts)
        if self.fold_case:
            folded, entry = entry, _unfold(entry)
            if _fold(entry) != folded:
                return None
        return entry if is_entry(entry) else None


def _fold(entry: str) -> str:
    folded = _CAPITAL_OR_WIDE.sub(lambda match: f"%^{ord(match[0]):x};", entry)
    return _TOO_LONG.sub(lambda match: match[0] + _CUT, folded)


def _unfold(folded: str) -> str:
    return _FOLDED.sub(lambda match: chr(int(match[1], 16)), folded.replace(_CUT, ""))
