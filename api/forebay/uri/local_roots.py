"""Directories whose files are cached as objects are, as those of a NAS. Other local paths stay as they are.

They are those of a process, as aliases are: whatever parses a URI knows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes, urlsplit

SCHEME = "file"
"""The scheme of the entries of such files."""

_roots: list[str] = []


def register_roots(roots: Iterable[str]) -> None:
    """Makes directories known in this process, beside those that are known already.

    Args:
        roots: absolute paths.
    """
    # The longest first: one may lie below another.
    _roots[:] = sorted({*_roots, *roots}, key=len, reverse=True)


def forget_roots() -> None:
    """Forgets all of them, as a new process knows none."""
    _roots.clear()


def file_path(uri: str) -> str:
    """The path of a local ``uri``: the URI itself, or the path in a ``file://`` URL."""
    if not uri[:7].lower().startswith("file://"):
        return uri
    return os.fsdecode(unquote_to_bytes(urlsplit(uri).path))


def path_below(uri: str) -> str | None:
    """The path of a file below one of the directories; ``None`` for anything else."""
    if not _roots or not (uri.startswith("/") or uri[:7].lower() == "file://"):
        return None
    path = file_path(uri)
    # Before it is taken apart: `..` may lead out, and a path that is no usual one would be another entry.
    if "\0" in path or root_of(os.path.normpath(path)) is None:
        return None
    return os.path.normpath(path)


def root_of(path: str) -> str | None:
    """The directory that a path is below."""
    return next((root for root in _roots if path.startswith(root + "/")), None)
