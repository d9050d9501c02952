"""Reads the header of a WebP image, for which Pillow would read the whole file.

It follows what libwebp does in ``WebPGetFeatures``, so that the answers are Pillow's.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from forebay.headers.media_files import MediaFile

_ALPHA, _ANIMATED = 0x10, 0x02
_BLOCKS = ((0x08, b"EXIF", "exif"), (0x04, b"XMP ", "xmp"))
_RIFF_BYTES, _MAX_HEADER_BYTES = 12, 10


@dataclass
class WebP:
    """One WebP image.

    Attributes:
        width, height: of its canvas, in pixels.
        has_alpha: whether Pillow gives it an alpha channel.
        blocks: the EXIF and XMP blocks, by Pillow's names for them.
    """

    width: int
    height: int
    has_alpha: bool
    blocks: dict[str, bytes] = field(default_factory=dict)


def is_webp(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is WebP."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def read_webp(file: MediaFile) -> WebP | None:
    """Reads the header; ``None`` where the file is malformed, so that Pillow decides about it."""
    try:
        file.seek(_RIFF_BYTES)
        name, length = _chunk(file)
        if name != b"VP8X":
            return _read_pixels(file, name)
        flags = file.read(4)[0]
        width, height = (int.from_bytes(file.read(3), "little") + 1 for _ in range(2))
        file.seek(_RIFF_BYTES + 8 + length)
        image = WebP(width, height, bool(flags & _ALPHA))
        if not flags & _ANIMATED and not _read_still(file, image):
            return None
        image.blocks = _read_blocks(file, {name: key for bit, name, key in _BLOCKS if flags & bit})
    except (struct.error, IndexError):
        return None
    return image


def _read_still(file: MediaFile, image: WebP) -> bool:
    """Reads on to the pixels of an image that is not animated; false where they do not match the header."""
    has_alpha_plane = False
    while True:
        name, length = _chunk(file)
        following = file.tell() + length + length % 2
        has_alpha_plane = has_alpha_plane or name == b"ALPH"
        if name in (b"VP8 ", b"VP8L"):
            break
        file.seek(following)
    pixels = _read_pixels(file, name)
    if pixels is None or (pixels.width, pixels.height) != (image.width, image.height):
        return False
    # Only a lossless image knows better than the flag.
    image.has_alpha = (pixels.has_alpha if name == b"VP8L" else image.has_alpha) or has_alpha_plane
    file.seek(following)
    return True


def _read_pixels(file: MediaFile, name: bytes) -> WebP | None:
    header = file.read(_MAX_HEADER_BYTES)
    if name == b"VP8 " and header[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", header[6:10])
        return WebP(width & 0x3FFF, height & 0x3FFF, has_alpha=False)
    if name == b"VP8L" and header[0] == 0x2F:
        (bits,) = struct.unpack("<I", header[1:5])
        return WebP((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, has_alpha=bool(bits >> 28 & 1))
    return None


def _read_blocks(file: MediaFile, wanted: dict[bytes, str]) -> dict[str, bytes]:
    """The blocks that come after the pixels, if there are any."""
    found: dict[str, bytes] = {}
    while wanted:
        try:
            name, length = _chunk(file)
        except struct.error:
            break
        following = file.tell() + length + length % 2
        if name in wanted:
            found[wanted.pop(name)] = file.read(length)
        file.seek(following)
    return found


def _chunk(file: MediaFile) -> tuple[bytes, int]:
    name, length = struct.unpack("<4sI", file.read(8))
    return name, length
