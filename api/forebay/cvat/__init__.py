"""CVAT: annotating media that stay in their bucket.

`create_manifest` and `create_video_manifest` write the manifests that CVAT reads instead of the media,
`attach` tells a CVAT server about a bucket. None of them needs FiftyOne.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = [
    "CloudStorage",
    "CvatError",
    "CvatServer",
    "ManifestReport",
    "attach",
    "create_manifest",
    "create_video_manifest",
]

if TYPE_CHECKING:
    from forebay.cvat.attachment import attach
    from forebay.cvat.cloud_storages import CloudStorage
    from forebay.cvat.image_manifests import create_manifest
    from forebay.cvat.manifest_report import ManifestReport
    from forebay.cvat.server import CvatServer
    from forebay.cvat.video_manifests import create_video_manifest
    from forebay.errors import CvatError

# Imported when they are used: requests and sqlite3 are not needed to ask for an error's name.
_HOMES = {
    "CloudStorage": "forebay.cvat.cloud_storages",
    "CvatError": "forebay.errors",
    "CvatServer": "forebay.cvat.server",
    "ManifestReport": "forebay.cvat.manifest_report",
    "attach": "forebay.cvat.attachment",
    "create_manifest": "forebay.cvat.image_manifests",
    "create_video_manifest": "forebay.cvat.video_manifests",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
