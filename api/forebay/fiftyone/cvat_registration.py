"""Registering Forebay's CVAT backend in FiftyOne's annotation configuration.

The configuration names a class for each annotation backend; `register` enters `BACKEND`, which accepts
``cloud_manifest`` and ``cloud_storage_id``. Without these arguments FiftyOne's own backend is used.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

BACKEND = "forebay.fiftyone.cvat_backend.backend_config"

_VARIABLE = "FIFTYONE_CVAT_CONFIG_CLS"
_FILE_VARIABLE = "FIFTYONE_ANNOTATION_CONFIG_PATH"
_FILE = "~/.fiftyone/annotation_config.json"
_BUILTIN = "fiftyone.utils.cvat.CVATBackendConfig"


def register() -> None:
    """Makes `BACKEND` FiftyOne's CVAT backend, unless the user has configured another one."""
    if _chosen_in_file() in (None, _BUILTIN):
        os.environ.setdefault(_VARIABLE, BACKEND)
    # If FiftyOne was imported before the adapter, it has already read the variable.
    loaded = getattr(sys.modules.get("fiftyone"), "annotation_config", None)
    if loaded is not None:
        parameters = loaded.backends.get("cvat", {})
        if parameters.get("config_cls") == _BUILTIN:
            parameters["config_cls"] = BACKEND


def _chosen_in_file() -> Any:
    path = os.environ.get(_FILE_VARIABLE) or os.path.expanduser(_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file).get("backends", {}).get("cvat", {}).get("config_cls")
    except (OSError, ValueError, AttributeError):
        # FiftyOne reads the same file and reports what is wrong with it.
        return None
