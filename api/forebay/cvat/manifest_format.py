"""The lines of CVAT's ``manifest.jsonl``: two headers, then one image each.

::

    {"version":"1.1"}
    {"type":"images"}
    {"name":"images/sub/c","extension":".jpg","width":32,"height":32}

An image is named relative to the directory of the manifest itself, without its extension. CVAT trusts
the size: it must be that of the image as it is shown, that is, after turning it as its EXIF block says.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from forebay.errors import ManifestError

MediaKind = Literal["images", "video"]

VERSIONS = ("1.0", "1.1")


@dataclass(frozen=True, slots=True)
class ManifestImage:
    """One image of a manifest.

    Attributes:
        name: relative to the manifest's directory, with its extension.
        width, height: in pixels, as the image is shown.
    """

    name: str
    width: int
    height: int


def header_lines(kind: MediaKind = "images") -> bytes:
    """The two header lines of a manifest."""
    return _json_line({"version": VERSIONS[-1]}) + _json_line({"type": kind})


def image_line(image: ManifestImage) -> bytes:
    """The line of one image."""
    name, extension = posixpath.splitext(image.name)
    return _json_line({"name": name, "extension": extension, "width": image.width, "height": image.height})


def video_lines(
    name: str, width: int, height: int, frames: int, key_frames: Iterable[tuple[int, int, str]]
) -> Iterator[bytes]:
    """Yields the lines of a video's manifest.

    Args:
        frames: how many frames it has.
        key_frames: the number, time stamp (in the stream's unit) and MD5 of the pixels of each.
    """
    yield header_lines("video")
    yield _json_line(
        {"properties": {"name": name, "resolution": [width, height], "length": frames, "chapters": []}}
    )
    for number, pts, checksum in key_frames:
        yield _json_line({"number": number, "pts": pts, "checksum": checksum})


def read_images(lines: Iterable[bytes], shown: str) -> Iterator[ManifestImage]:
    """Yields the images of a manifest, checked as strictly as CVAT does.

    Args:
        lines: with or without line ends.
        shown: the manifest's name, for error messages.

    Raises:
        ManifestError: CVAT would refuse the manifest, or misread it.
    """
    parser = _LineParser(shown)
    items = 0
    for parser.number, text in enumerate(_without_blank_end(lines), 1):
        value = parser.parse(text)
        if parser.number == 1:
            if value.get("version") not in VERSIONS:
                raise parser.broken('expected {"version":"1.1"}, alone on its line')
        elif parser.number == 2:
            if value.get("type") != "images":
                raise parser.broken('expected {"type":"images"}, alone on its line')
        else:
            items += 1
            yield parser.image(value)
    if not items:
        raise ManifestError(f"{shown} names no image", file=shown)


def read_video_name(lines: Iterable[bytes], shown: str) -> str:
    """The name of the video that a manifest describes.

    Raises:
        ManifestError: it describes none.
    """
    parser = _LineParser(shown)
    for parser.number, text in enumerate(lines, 1):
        value = parser.parse(text)
        if parser.number == 2 and value.get("type") != "video":
            raise parser.broken('expected {"type":"video"}: this is no manifest of a video')
        if parser.number == 3:
            name = value.get("properties", {}).get("name")
            if isinstance(name, str):
                return name
            raise parser.broken("expected the properties of a video, with its name")
    raise ManifestError(f"{shown} names no video", file=shown)


def _without_blank_end(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines without blank ones at the end, which CVAT skips there and nowhere else."""
    blank: list[bytes] = []
    for text in lines:
        if not text.strip():
            blank.append(text)
            continue
        yield from blank
        blank.clear()
        yield text


@dataclass
class _LineParser:
    """Parses single lines; knows the current line number for error messages."""

    shown: str
    number: int = 0

    def broken(self, why: str) -> ManifestError:
        return ManifestError(f"{self.shown}, line {self.number}: {why}", file=self.shown, line=self.number)

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

    def image(self, value: dict[str, Any]) -> ManifestImage:
        name, extension = value.get("name"), value.get("extension")
        if not isinstance(name, str) or not isinstance(extension, str) or not name + extension:
            raise self.broken("an image needs a name and an extension")
        width, height = value.get("width"), value.get("height")
        if type(width) is not int or type(height) is not int or width < 1 or height < 1:
            raise self.broken("an image needs its width and height, in pixels, as whole numbers")
        return ManifestImage(name + extension, width, height)


def _json_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
