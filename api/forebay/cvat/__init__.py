"""CVAT: annotating media where they lie.

`create_manifest` writes the list of images that CVAT reads instead of the images, from their header
bytes alone; `attach` tells a CVAT server about a bucket. Neither needs FiftyOne.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["CvatError", "Manifest", "Server", "Storage", "attach", "create_manifest", "create_video_manifest"]

if TYPE_CHECKING:
    from forebay.cvat.create import Manifest, create_manifest
    from forebay.cvat.errors import CvatError
    from forebay.cvat.server import Server
    from forebay.cvat.storages import Storage, attach
    from forebay.cvat.videos import create_video_manifest

_HOMES = {
    "CvatError": "errors",
    "Manifest": "create",
    "Server": "server",
    "Storage": "storages",
    "attach": "storages",
    "create_manifest": "create",
    "create_video_manifest": "videos",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
