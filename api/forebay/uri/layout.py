"""Maps entry names to paths of one volume, and back."""

from __future__ import annotations

import math
import os
import re

from forebay.uri.entry import MAX_SEGMENT_BYTES, is_entry

# Everything but the rest of ASCII: the range of all wide characters takes 5 ms to compile.
_CAPITAL_OR_WIDE = re.compile(r"[^\x00-@\[-\x7f]")
_FOLDED = re.compile(r"%\^(10[0-9a-f]{4}|[0-9a-f]{1,5});")
_MARK = "%+"
_CUT = f"{_MARK}/{_MARK}"


class Layout:
    """The paths of a volume: its directories, and the file of each entry.

    Args:
        cache_dir: the volume's directory.
        fold_case: for a file system on which ``A`` and ``a`` are one, or two ways to write ``é``:
            capitals and everything outside ASCII become ``%^<code>;``.
        max_name: the most bytes of a name on the file system. One that is too long, or becomes so by
            the folding, becomes several, with ``%+`` at every cut.
    """

    def __init__(self, cache_dir: str, *, fold_case: bool = False, max_name: int = 255) -> None:
        self.cache_dir = cache_dir
        self.media_dir = os.path.join(cache_dir, "media")
        self.private_dir = os.path.join(cache_dir, ".forebay")
        self.temporary_dir = os.path.join(self.private_dir, "tmp")
        self.fold_case = fold_case
        # Beside what is left of a name there may be two marks of cuts, and that of an `alternate_path`.
        self._longest = min(MAX_SEGMENT_BYTES, max_name - 2 * len(_MARK) - 1)
        self._changes = fold_case or self._longest < MAX_SEGMENT_BYTES
        self._prefix = self.media_dir + "/"

    def use_temporary_dir_of_media(self) -> None:
        """Puts partial files on the disk of the media, where that is not the one of the cache directory."""
        self.temporary_dir = self._prefix + ".forebay"

    def path(self, entry: str) -> str:
        """The path of an entry's file, unless another entry's directory or file occupies it."""
        return self._prefix + (self._change(entry) if self._changes else entry)

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
        if len(parts) < 3:
            return None
        if parts[1].endswith("%"):
            if not all(part.endswith("%") for part in parts[1:-1]):
                return None
            parts = [parts[0], *(part[:-1] for part in parts[1:-1]), parts[-1]]
        entry = "/".join(parts)
        if self._changes:
            changed, entry = entry, self._change_back(entry)
            if self._change(entry) != changed:
                return None
        return entry if is_entry(entry) else None

    def _change(self, entry: str) -> str:
        """What the file system can take of an entry's name."""
        if self.fold_case:
            entry = _CAPITAL_OR_WIDE.sub(lambda match: f"%^{ord(match[0]):x};", entry)
        return "/".join(_CUT.join(_pieces(name, self._longest)) for name in entry.split("/"))

    def _change_back(self, changed: str) -> str:
        entry = changed.replace(_CUT, "")
        return _FOLDED.sub(lambda match: chr(int(match[1], 16)), entry) if self.fold_case else entry


def _pieces(name: str, longest: int) -> list[str]:
    """Pieces of a name of at most so many bytes each, about equal, so that the last has the extension."""
    size = len(os.fsencode(name))
    if size <= longest:
        return [name]
    wanted = math.ceil(size / math.ceil(size / (longest - 3)))
    pieces, piece = [], ""
    for character in name:
        if len(os.fsencode(piece)) >= wanted:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]
