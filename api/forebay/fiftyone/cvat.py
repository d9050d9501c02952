"""CVAT: the backend for cloud media, and uploads of what is remote.

FiftyOne's own configuration names the class of each annotation backend; `register` puts in the one that
knows ``cloud_manifest`` and ``cloud_storage_id``. Without these arguments FiftyOne's own backend is used.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper

BACKEND = "forebay.fiftyone.cvat_backend.backend_config"

_VARIABLE = "FIFTYONE_CVAT_CONFIG_CLS"
_FILE_VARIABLE = "FIFTYONE_ANNOTATION_CONFIG_PATH"
_FILE = "~/.fiftyone/annotation_config.json"
_BUILTIN = "fiftyone.utils.cvat.CVATBackendConfig"
_LEASE_SECONDS = 3600.0


def register() -> None:
    """Makes ours FiftyOne's backend for CVAT, unless its user has chosen another one."""
    if _chosen_in_file() in (None, _BUILTIN):
        os.environ.setdefault(_VARIABLE, BACKEND)
    # Where FiftyOne was imported before the adapter, it has read its settings already.
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
        # FiftyOne reads the same file, and says what is wrong with it.
        return None


@hooks.around("fiftyone.utils.cvat", "CVATAnnotationAPI._parse_local_files")
def parse_local_files(original: Wrapper, self: Any, paths: Any) -> Any:
    """Uploads the cached copies of remote media, all of which are kept until they are read."""
    paths = list(paths)
    remote = [path for path in paths if media.is_remote(path)]
    if not remote:
        return original(self, paths)
    with media.media_cache().lease(remote, _LEASE_SECONDS):
        return original(self, [media.local(path) for path in paths])
