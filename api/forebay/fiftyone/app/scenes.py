"""3D scenes and materials: the files that they name, and links to these.

The browser requests every file that a scene, a material or a glTF file names. In a scene, each asset's
name is replaced by a link, so that a link to a scene serves only the scene. Materials and glTF files are
served unchanged, so a link to one also serves the files that it names.
"""

from __future__ import annotations

import json
import posixpath
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from forebay.fiftyone.json_media import parse_json_object
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import extension, is_remote
from forebay.fiftyone.uripaths import abspath, join
from forebay.headers.media_files import MediaFile, open_media

_MAX_TEXT_BYTES = 64 << 20
_KEPT_SECONDS = 60


def linked_scene(uri: str, link: Callable[[str], str]) -> bytes:
    """The scene at ``uri`` with links in place of its assets' names.

    Args:
        link: makes the link to a URI.

    Raises:
        MediaError: the file is no scene.
        SourceError: the scene cannot be read.
    """
    with open_media(media_cache(), uri) as file:
        scene = parse_json_object(file.read(_MAX_TEXT_BYTES), uri)

    def linked(name: Any) -> Any:
        target = beside(uri, name) if isinstance(name, str) and name else None
        # A hostile server may have the scene: what it names elsewhere, the browser loads itself, if at all.
        return link(target) if target is not None and is_below(uri, target) else name

    for node in _nodes(scene):
        for field in [field for field in node if field.endswith("Path")]:
            node[field] = linked(node[field])
    background = scene.get("background")
    if isinstance(background, dict):
        background["image"] = linked(background.get("image"))
        if isinstance(background.get("cube"), list):
            background["cube"] = [linked(side) for side in background["cube"]]
    return json.dumps(scene).encode()


def asset_uri(uri: str, asset: str) -> str | None:
    """The URI of an asset of the material or glTF file at ``uri``; ``None`` if the file does not name it.

    Raises:
        SourceError, MediaError: the file cannot be read.
    """
    named = _asset_names(uri, int(time.time()) // _KEPT_SECONDS)
    wanted = posixpath.normpath(asset)
    target = beside(uri, wanted) if wanted in named else None
    return target if target is not None and is_below(uri, target) else None


def is_below(uri: str, target: str) -> bool:
    """Whether a URI lies in the directory of a scene, or below it, however its segments are spelled."""
    directory = uri.partition("?")[0].rpartition("/")[0] + "/"
    if not target.startswith(directory) or "\\" in target:
        return False
    rest = before = target[len(directory) :]
    while (rest := unquote(rest)) != before:
        before = rest
    return not any(part.startswith("..") and not part.strip(".") for part in re.split(r"[/\\]", rest))


def beside(uri: str, name: str) -> str | None:
    """The URI of a name in the file at ``uri``; ``None`` if the name is not remote."""
    if is_remote(name):
        return name
    if name.startswith(("/", "data:")) or "://" in name:
        return None
    return str(abspath(join(uri.partition("?")[0].rpartition("/")[0], name)))


@lru_cache(maxsize=256)
def _asset_names(uri: str, minute: int) -> frozenset[str]:
    read = _READERS.get(extension(uri))
    if read is None:
        return frozenset()
    with open_media(media_cache(), uri) as file:
        return frozenset(posixpath.normpath(name) for name in read(file, uri) if "://" not in name)


def _of_material(file: MediaFile, uri: str) -> Iterator[str]:
    for line in file.read(_MAX_TEXT_BYTES).decode(errors="replace").splitlines():
        key, _, value = line.strip().partition(" ")
        if key.lower().startswith(("map_", "bump", "disp", "decal", "norm", "refl")):
            # Any number of options may precede the name, and the name may contain spaces.
            yield value.split()[-1].replace("\\", "/") if value.split() else ""
            yield value.strip().replace("\\", "/")


def _of_gltf(file: MediaFile, uri: str) -> Iterator[str]:
    if file.read(4) == b"glTF":
        file.seek(12)
        size = int.from_bytes(file.read(4), "little")
        file.seek(20)
        content = parse_json_object(file.read(min(size, _MAX_TEXT_BYTES)), uri)
    else:
        file.seek(0)
        content = parse_json_object(file.read(_MAX_TEXT_BYTES), uri)
    for part in (*content.get("buffers", ()), *content.get("images", ())):
        name = part.get("uri") if isinstance(part, dict) else None
        if isinstance(name, str) and not name.startswith("data:"):
            yield from (name, unquote(name))


_READERS: dict[str, Callable[[MediaFile, str], Iterator[str]]] = {
    ".mtl": _of_material,
    ".gltf": _of_gltf,
    ".glb": _of_gltf,
}


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.get("children") or ():
            yield from _nodes(child)
