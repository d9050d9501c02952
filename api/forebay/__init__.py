"""Forebay: cloud media, kept right next to the GPUs."""

__version__ = "0.1.0"
