"""3D scenes and materials: the files that they name, and links to these.

The browser asks for whatever a scene, a material or a glTF file names. A scene is served with a link of
its own for each asset, so that a link to a scene opens nothing but the scene. Materials and glTF files
are served as they are; a link to one opens what it names as well.
"""

from __future__ import annotations

import json
import posixpath
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from forebay.errors import MediaError
from forebay.fiftyone.media import is_remote, media_cache
from forebay.fiftyone.mime import file_name
from forebay.fiftyone.uripaths import abspath, join
from forebay.headers.media_files import MediaFile, open_media
from forebay.uri import redact

_LARGEST_TEXT = 64 << 20
_REMEMBERED_SECONDS = 60


def extension(path: str) -> str:
    """The extension of a path or URI in lower case, with its dot."""
    return posixpath.splitext(file_name(path))[1].lower()


def is_scene(uri: str) -> bool:
    return extension(uri) == ".fo3d"


def linked_scene(uri: str, link: Callable[[str], str]) -> bytes:
    """The scene at ``uri``, with links in place of its assets' names.

    Args:
        link: makes the link to a URI.

    Raises:
        MediaError: it is no scene.
        SourceError: it cannot be read.
    """
    with open_media(media_cache(), uri) as file:
        scene = _json(file.read(_LARGEST_TEXT), uri)

    def linked(name: Any) -> Any:
        target = beside(uri, name) if isinstance(name, str) and name else None
        return name if target is None else link(target)

    for node in _nodes(scene):
        for field in [field for field in node if field.endswith("Path")]:
            node[field] = linked(node[field])
    background = scene.get("background")
    if isinstance(background, dict):
        background["image"] = linked(background.get("image"))
        if isinstance(background.get("cube"), list):
            background["cube"] = [linked(side) for side in background["cube"]]
    return json.dumps(scene).encode()


def names(uri: str, asset: str) -> str | None:
    """The URI of a file that the material or glTF file at ``uri`` names; ``None`` if it does not.

    Raises:
        SourceError, MediaError: it cannot be read.
    """
    named = _named(uri, int(time.time()) // _REMEMBERED_SECONDS)
    wanted = posixpath.normpath(asset)
    return beside(uri, wanted) if wanted in named else None


def beside(uri: str, name: str) -> str | None:
    """The URI that a name in the file at ``uri`` stands for; ``None`` for one that is not remote."""
    if is_remote(name):
        return name
    if name.startswith(("/", "data:")) or "://" in name:
        return None
    return str(abspath(join(uri.partition("?")[0].rpartition("/")[0], name)))


@lru_cache(maxsize=256)
def _named(uri: str, minute: int) -> frozenset[str]:
    read = _READERS.get(extension(uri))
    if read is None:
        return frozenset()
    with open_media(media_cache(), uri) as file:
        return frozenset(posixpath.normpath(name) for name in read(file, uri) if "://" not in name)


def _of_material(file: MediaFile, uri: str) -> Iterator[str]:
    for line in file.read(_LARGEST_TEXT).decode(errors="replace").splitlines():
        key, _, value = line.strip().partition(" ")
        if key.lower().startswith(("map_", "bump", "disp", "decal", "norm", "refl")):
            # Options come first, and may be any number of words.
            yield value.split()[-1].replace("\\", "/") if value.split() else ""
            yield value.strip().replace("\\", "/")


def _of_gltf(file: MediaFile, uri: str) -> Iterator[str]:
    if file.read(4) == b"glTF":
        file.seek(12)
        size = int.from_bytes(file.read(4), "little")
        file.seek(20)
        content = _json(file.read(min(size, _LARGEST_TEXT)), uri)
    else:
        file.seek(0)
        content = _json(file.read(_LARGEST_TEXT), uri)
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


def _json(content: bytes, uri: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise MediaError(f"{redact(uri)}: is not the JSON that its extension promises")
    return found
