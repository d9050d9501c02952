"""Images whose headers have something to say."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

from PIL import Image

from examples.photos import photographs

_ORIENTATION = 0x0112


def image(width: int, height: int, *, orientation: int = 1, format: str = "JPEG", seed: int = 0) -> bytes:
    """An image of noise: ``width`` and ``height`` are as it is stored, before it is turned."""
    noise = random.Random(seed).randbytes(width * height * 3)
    return _saved(Image.frombytes("RGB", (width, height), noise), orientation, format)


def nested_photographs(count: int) -> Iterator[tuple[str, bytes, tuple[int, int]]]:
    """Photographs in nested directories, with spaces and letters of all kinds in their names.

    Gives of each the key, the bytes, and the width and height as it is shown: every EXIF orientation
    is among them.
    """
    originals = [Image.open(io.BytesIO(content)) for _, content in photographs(40)]
    for i in range(count):
        original, orientation = originals[i % len(originals)], i % 8 + 1
        width, height = original.width - i % 7, original.height - i % 11
        key = _DIRECTORIES[i % len(_DIRECTORIES)].format(i % 50) + f"/{_NAMES[i % len(_NAMES)]} {i:05}.jpg"
        size = (height, width) if orientation > 4 else (width, height)
        yield key, _saved(original.crop((0, 0, width, height)), orientation, "JPEG"), size


_DIRECTORIES = (
    "train",
    "train/day {}",
    "val/nächte/{}",
    "日本/{}/深い/場所",
    "a.b/c.d{}",
    "{}/with 'quotes' & ü",
)
_NAMES = ("photo", "früh am Morgen", "猫", "two.dots", "plus+and=percent%41", "emoji 🐈")


def _saved(picture: Image.Image, orientation: int, format: str) -> bytes:
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    file = io.BytesIO()
    picture.save(file, format, exif=exif, quality=95)
    return file.getvalue()
