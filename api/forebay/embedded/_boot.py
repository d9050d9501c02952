"""Runs the supervisor, as a script: ``python -I -S _boot.py <arguments of main>``.

It gets `forebay.embedded._supervisor` without running ``forebay/__init__.py`` and its like, which bring
in what a program wants and a small process that lives for long does not.
"""

import os
import sys
import types

_EMBEDDED = os.path.dirname(os.path.abspath(__file__))


def _import_nothing_of(package: str, path: str) -> None:
    module = types.ModuleType(package)
    module.__path__ = [path]
    sys.modules[package] = module


if __name__ == "__main__":
    _import_nothing_of("forebay", os.path.dirname(_EMBEDDED))
    _import_nothing_of("forebay.embedded", _EMBEDDED)
    from forebay.embedded._supervisor import main

    directory, binary, host, idle_seconds, patience_seconds = sys.argv[1:]
    main(directory, binary, host, float(idle_seconds), float(patience_seconds))
