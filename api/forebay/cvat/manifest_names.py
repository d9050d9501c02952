"""The names of the images in a manifest, on disk because there may be millions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator


class ManifestNames:
    """A set of names that also knows which of them were kept from an existing manifest.

    Args:
        directory: a local directory for the database.
    """

    def __init__(self, directory: str) -> None:
        self._database = sqlite3.connect(os.path.join(directory, "names"), isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE names (name BLOB PRIMARY KEY, found INT) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def keep(self, name: str) -> None:
        """Adds a name of the existing manifest."""
        self._insert(name, found=False)

    def add(self, name: str) -> bool:
        """Adds the name of an image that was found; returns whether it is new."""
        if self._insert(name, found=True):
            return True
        self._database.execute("UPDATE names SET found = 1 WHERE name = ?", (_bytes(name),))
        return False

    def not_found_again(self) -> Iterator[str]:
        """The names of the existing manifest that no image has."""
        for (name,) in self._database.execute("SELECT name FROM names WHERE found = 0"):
            yield name.decode("utf-8", "surrogateescape")

    def _insert(self, name: str, *, found: bool) -> bool:
        row = (_bytes(name), found)
        return self._database.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", row).rowcount == 1

    def __enter__(self) -> ManifestNames:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()


def _bytes(name: str) -> bytes:
    # Keys that are not valid UTF-8 arrive as surrogates, which SQLite does not take.
    return name.encode("utf-8", "surrogateescape")
