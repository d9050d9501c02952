"""Switching the adapter on, in this process and in the processes that it starts."""

from __future__ import annotations

import importlib
import os
from functools import cache

from forebay.config import fiftyone_config, fiftyone_versions, learn_aliases
from forebay.config.fiftyone_config import MODULE
from forebay.errors import ConfigError, FiftyOneError
from forebay.fiftyone import cvat_registration, hooks, version_differences

_MODULES_WITH_HOOKS = (
    "app.launch",
    "app.link_rewriting",
    "app.media_shapes",
    "app.model_weights",
    "app.recording_links",
    "app.route",
    "collection_methods",
    "core_cache",
    "directories",
    "media_copies",
    "metadata",
    "mime",
    "readers",
    "recordings",
    "samples",
    "storage",
    "torch_datasets",
    "transforms",
    "uripaths",
    "workflows",
    "zoo",
)


@cache
def switch_on() -> None:
    """Hooks Forebay into FiftyOne; once.

    Raises:
        FiftyOneError: FiftyOne is not installed, is a version that the adapter is not for, or lacks a
            symbol that the adapter hooks.
    """
    version = fiftyone_versions.installed()
    if version is None:
        raise FiftyOneError("FiftyOne is not installed; run: pip install 'forebay[fiftyone]'")
    refusal = fiftyone_versions.refusal(version)
    if refusal is not None:
        raise FiftyOneError(refusal, version=version)
    for name in _MODULES_WITH_HOOKS:
        importlib.import_module(f"{MODULE}.{name}")
    fitting = version_differences.fitting(hooks.declared(), version)
    missing = hooks.missing(fitting)
    if missing:
        raise FiftyOneError(
            f"Forebay's adapter does not fit FiftyOne {version}, which has no "
            f"{', '.join(map(str, missing))}; supported is {fiftyone_versions.SUPPORTED}. FiftyOne stays as "
            f"it is, without cloud media. {fiftyone_versions.REMEDY}",
            version=version,
        )
    hooks.install(fitting)
    cvat_registration.register()
    # A dataset may be made before anything asks for the cache.
    learn_aliases()
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
