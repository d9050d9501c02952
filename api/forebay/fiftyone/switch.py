"""Switching the adapter on, in this process and in the processes that it starts."""

from __future__ import annotations

import importlib
import os
from functools import cache
from importlib import metadata

from forebay.config import fiftyone_config
from forebay.config.fiftyone_config import MODULE
from forebay.errors import ConfigError
from forebay.fiftyone import cvat_registration, hooks

SUPPORTED = "1.22"
"""The versions of FiftyOne that the adapter is tested with."""

_MODULES_WITH_HOOKS = (
    "app.launch",
    "app.link_rewriting",
    "app.media_shapes",
    "app.route",
    "collection_methods",
    "core_cache",
    "directories",
    "media_copies",
    "metadata",
    "mime",
    "readers",
    "samples",
    "storage",
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
    for name in _MODULES_WITH_HOOKS:
        importlib.import_module(f"{MODULE}.{name}")
    declared = hooks.declared()
    missing = hooks.missing(declared)
    if missing:
        raise ImportError(
            f"Forebay's adapter does not fit FiftyOne {version}, which has no "
            f"{', '.join(map(str, missing))}; supported is FiftyOne {SUPPORTED}. FiftyOne stays as it is, "
            f"without cloud media. Install a supported version, or run: forebay fiftyone disable"
        )
    hooks.install(declared)
    cvat_registration.register()
    _pass_on()


def _pass_on() -> None:
    """Makes processes that this one starts, such as the App's server, load the adapter as well."""
    try:
        named = fiftyone_config.modules()
    except ConfigError:
        # FiftyOne reads the same file and reports what is wrong with it.
        named = []
    if MODULE not in named:
        # The variable overrides the file, so it must name the file's modules, too.
        os.environ[fiftyone_config.VARIABLE] = ":".join([*named, MODULE])
