"""Fixtures that the tests of CVAT share: a cache, a command, and media in buckets."""

from __future__ import annotations

from tests.caches import cache, make_cache, valkey
from tests.commands import forebay

__all__ = ["cache", "forebay", "make_cache", "valkey"]
