"""The frames that a stand-in for CVAT finds in images, manifests and videos."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from posixpath import dirname
from typing import Any

import av
from PIL import Image

_ORIENTATION = 0x0112
Read = Callable[[str], bytes]


def frame_of(name: str, content: bytes) -> dict[str, Any]:
    """The frame of an image that CVAT opens: with a newer Pillow, it turns the size of a TIFF twice."""
    image = Image.open(io.BytesIO(content))
    width, height = image.size
    if image.getexif().get(_ORIENTATION, 1) > 4:
        width, height = height, width
    return _frame(name, width, height)


def frames_of_video(name: str, content: bytes) -> tuple[list[dict[str, Any]], int]:
    """The one frame that CVAT tells of a video, and the number of those that it shows."""
    with av.open(io.BytesIO(content)) as container:
        found = [(frame.width, frame.height) for frame in container.decode(video=0)]
    return [_frame(name, *found[0])], len(found)


def frames_by_manifest(text: bytes, key: str, media: list[str], read: Read) -> list[dict[str, Any]]:
    """The frames of a task: as CVAT finds them in its manifest, and as the images themselves are."""
    version, kind, *lines = text.decode().splitlines()
    assert json.loads(version)["version"] in ("1.0", "1.1")
    assert json.loads(kind) == {"type": "images"}
    while lines and not lines[-1].strip():
        lines.pop()
    prefix = f"{dirname(key)}/" if dirname(key) else ""
    items: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        item = json.loads(line)
        items.setdefault(prefix + item["name"] + item["extension"], []).append(item)
    missing = [name for name in media if name not in items]
    if len(missing) == len(media):
        raise FileNotFoundError("There is no intersection of the files specified in the manifest")
    if missing:
        names = "".join(f"\n  {name} (upload)" for name in missing)
        raise FileNotFoundError(
            f"Uploaded files do no match the upload manifest file contents. Please check the upload "
            f"manifest file contents and the list of uploaded files.\nMismatching files:{names}"
        )
    frames = []
    for name in media:
        shown = _shown(name, read(name))
        for item in items[name]:
            # CVAT trusts the manifest; this is how an annotator would notice.
            if (shown["width"], shown["height"]) != (item["width"], item["height"]):
                raise ValueError(f"{name} is {shown['width']}x{shown['height']}, which the manifest denies")
            frames.append(shown)
    return frames


def _shown(name: str, content: bytes) -> dict[str, Any]:
    """An image as the annotator sees it."""
    image = Image.open(io.BytesIO(content))
    if image.format == "TIFF":
        # Pillow has turned it.
        return _frame(name, *image.size)
    return frame_of(name, content)


def _frame(name: str, width: int, height: int) -> dict[str, Any]:
    return {"name": name, "width": width, "height": height, "related_files": 0, "has_related_context": False}
