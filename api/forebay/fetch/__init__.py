"""Downloading objects into a volume."""
