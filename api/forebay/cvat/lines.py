"""The lines of CVAT's ``manifest.jsonl``: two headers, then one image each.

::

    {"version":"1.1"}
    {"type":"images"}
    {"name":"images/sub/c","extension":".jpg","width":32,"height":32}

An image is named relative to the directory of the manifest itself, without its extension. CVAT trusts
the size, which is that of the image as it is shown: turned, where its EXIF block says so.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from forebay.errors import ManifestError

Kind = Literal["images", "video"]

VERSIONS = ("1.0", "1.1")


@dataclass(frozen=True, slots=True)
class Image:
    """One image of a manifest.

    Attributes:
        name: relative to the manifest's directory, with its extension.
        width, height: in pixels, as the image is shown.
    """

    name: str
    width: int
    height: int


def header(kind: Kind = "images") -> bytes:
    """The two lines that a manifest begins with."""
    return _line({"version": VERSIONS[-1]}) + _line({"type": kind})


def line(image: Image) -> bytes:
    """The line of one image."""
    name, extension = posixpath.splitext(image.name)
    return _line({"name": name, "extension": extension, "width": image.width, "height": image.height})


def video_lines(
    name: str, width: int, height: int, frames: int, key_frames: Iterable[tuple[int, int, str]]
) -> Iterator[bytes]:
    """The lines of a video's manifest.

    Args:
        frames: how many frames it has.
        key_frames: of each the number, the time stamp in the stream's unit, and the MD5 of its pixels.
    """
    yield header("video")
    yield _line(
        {"properties": {"name": name, "resolution": [width, height], "length": frames, "chapters": []}}
    )
    for number, pts, checksum in key_frames:
        yield _line({"number": number, "pts": pts, "checksum": checksum})


def images_of(lines: Iterable[bytes], shown: str) -> Iterator[Image]:
    """The images of a manifest, read as strictly as CVAT reads it.

    Args:
        lines: with or without their ends.
        shown: the manifest's name, for errors.

    Raises:
        ManifestError: CVAT would refuse the manifest, or take it for another one.
    """
    reader = _Reader(shown)
    kind = None
    for reader.number, text in enumerate(lines, 1):
        value = reader.parse(text)
        if reader.number == 1:
            if value.get("version") not in VERSIONS:
                raise reader.broken('expected {"version":"1.1"}, alone on its line')
        elif reader.number == 2:
            kind = value.get("type")
            if kind != "images":
                raise reader.broken('expected {"type":"images"}, alone on its line')
        else:
            yield reader.image(value)
    if kind is None or reader.number < 3:
        raise ManifestError(f"{shown} names no image")


def video_of(lines: Iterable[bytes], shown: str) -> str:
    """The name of the video that a manifest describes.

    Raises:
        ManifestError: it describes none.
    """
    reader = _Reader(shown)
    for reader.number, text in enumerate(lines, 1):
        value = reader.parse(text)
        if reader.number == 2 and value.get("type") != "video":
            raise reader.broken('expected {"type":"video"}: this is no manifest of a video')
        if reader.number == 3:
            name = value.get("properties", {}).get("name")
            if isinstance(name, str):
                return name
            raise reader.broken("expected the properties of a video, with its name")
    raise ManifestError(f"{shown} names no video")


@dataclass
class _Reader:
    """Where the reading of a manifest is."""

    shown: str
    number: int = 0

    def broken(self, why: str) -> ManifestError:
        return ManifestError(f"{self.shown}, line {self.number}: {why}")

    def parse(self, text: bytes) -> dict[str, Any]:
        if text.startswith(b"\xef\xbb\xbf"):
            raise self.broken("it begins with a byte order mark, which CVAT does not skip")
        if not text.strip():
            raise self.broken("it is empty, which CVAT does not skip")
        try:
            value = json.loads(text)
        except ValueError as error:
            raise self.broken(f"not valid JSON ({error})") from None
        if not isinstance(value, dict):
            raise self.broken("not a JSON object")
        return value

    def image(self, value: dict[str, Any]) -> Image:
        name, extension = value.get("name"), value.get("extension")
        if not isinstance(name, str) or not isinstance(extension, str) or not name + extension:
            raise self.broken("an image needs a name and an extension")
        width, height = value.get("width"), value.get("height")
        if type(width) is not int or type(height) is not int or width < 1 or height < 1:
            raise self.broken("an image needs its width and height, in pixels, as whole numbers")
        return Image(name + extension, width, height)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
