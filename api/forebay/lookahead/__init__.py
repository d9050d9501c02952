"""Downloading ahead of a loop, in its own order."""
