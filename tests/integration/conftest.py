"""A Redis, and caches on it."""

from tests.caches import cache, make_cache, valkey

__all__ = ["cache", "make_cache", "valkey"]
