"""Removing entries: the least recently used, or those that were named."""
