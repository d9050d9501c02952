"""Switching the adapter on, for this process and for those that it starts."""

from __future__ import annotations

import importlib
import os
from functools import cache
from importlib import metadata

from forebay.fiftyone import hooks

SUPPORTED = "1.22"
"""The versions of FiftyOne that the adapter is tested with."""

MODULE = "forebay.fiftyone"

_PARTS = (
    "cache",
    "collections",
    "files",
    "paths",
    "readers",
    "samples",
    "torch_datasets",
    "transforms",
    "uripaths",
    "workflows",
)


@cache
def switch_on() -> None:
    """Hooks Forebay into FiftyOne; once.

    Raises:
        ImportError: FiftyOne is not installed, or lacks a symbol that the adapter hooks.
    """
    try:
        version = metadata.version("fiftyone")
    except metadata.PackageNotFoundError:
        raise ImportError("FiftyOne is not installed; run: pip install 'forebay[fiftyone]'") from None
    for part in _PARTS:
        importlib.import_module(f"{MODULE}.{part}")
    declared = hooks.declared()
    missing = hooks.missing(declared)
    if missing:
        raise ImportError(
            f"Forebay's adapter does not fit FiftyOne {version}, which has no "
            f"{', '.join(map(str, missing))}; supported is FiftyOne {SUPPORTED}. FiftyOne stays as it is, "
            f"without cloud media. Install a supported version, or run: forebay fiftyone disable"
        )
    hooks.install(declared)
    _pass_on()


def _pass_on() -> None:
    """Lets the processes that this one starts, such as the App's server, load the adapter as well."""
    modules = [name for name in os.environ.get("FIFTYONE_MODULE_PATH", "").split(":") if name]
    if MODULE not in modules:
        os.environ["FIFTYONE_MODULE_PATH"] = ":".join([*modules, MODULE])
