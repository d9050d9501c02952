"""The ``forebay`` command: parses arguments and prints results; the work is done by the library.

Help, shell completion and usage errors should not wait for what they do not need, so a module is imported
only when one of its commands is used (`lazy`). It imports what loads the settings, requests, rich or Celery
(0.1 to 0.3 s each) in the functions that run: `forebay.cache`, `checks`, `jobs`, `metrics`, `volumes`, and
`cvat.server`. Everything else is imported at the top.
"""

from forebay.cli.main import main

__all__ = ["main"]
