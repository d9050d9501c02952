"""A Redis, caches on it, and the command line."""

from tests.caches import cache, make_cache, valkey
from tests.commands import forebay

__all__ = ["cache", "forebay", "make_cache", "valkey"]
