"""The ``forebay`` command: thin, and quick to start. What it does is in the library."""

from forebay.cli.main import main

__all__ = ["main"]
