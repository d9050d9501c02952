"""Whose turn it is to download an object: the same answer for everybody who knows the same volumes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def turn_of(entry: str, volumes: Iterable[str]) -> str:
    """The volume that is to download an entry; empty where there is none.

    Rendezvous hashing: where a volume goes, only the entries whose turn was its own find another, and they
    spread over all that remain.
    """
    return max(volumes, key=lambda volume: (_weight(volume, entry), volume), default="")


def _weight(volume: str, entry: str) -> bytes:
    # A volume's name has no NUL.
    return hashlib.blake2b(f"{volume}\0{entry}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
