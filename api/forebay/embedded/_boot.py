"""Runs the supervisor, as a script: ``python -I -S _boot.py <arguments of main>``.

It imports `forebay.embedded._supervisor` without running ``forebay/__init__.py`` and
``forebay/embedded/__init__.py``, which import more than a small, long-lived process should load.
"""

import os
import sys
import types

_EMBEDDED = os.path.dirname(os.path.abspath(__file__))


def _register_without_running(package: str, path: str) -> None:
    module = types.ModuleType(package)
    module.__path__ = [path]
    sys.modules[package] = module


if __name__ == "__main__":
    _register_without_running("forebay", os.path.dirname(_EMBEDDED))
    _register_without_running("forebay.embedded", _EMBEDDED)
    from forebay.embedded._supervisor import main

    directory, binary, host, idle_seconds, max_wait_seconds = sys.argv[1:]
    main(directory, binary, host, float(idle_seconds), float(max_wait_seconds))
