"""The format and size of an image, from its header."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import IO, cast

from PIL import Image

from forebay.cache import MediaCache
from forebay.headers.media_files import MediaFile, open_media
from forebay.headers.webp import is_webp, read_webp

_ORIENTATION = 0x0112
_AVIF = (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1")
_GROWTH = 8


@dataclass(frozen=True)
class ImageInfo:
    """The header of one image.

    Attributes:
        format: Pillow's name of its format, such as ``JPEG``.
        width, height: in pixels, as Pillow gives them: before the image is turned.
        channels: how many bands each pixel has.
        orientation: how it is to be turned, from its EXIF block, 1 to 8; 1 where it says nothing, and
            for TIFF, which Pillow turns itself.
        size_bytes: of the file.
    """

    format: str
    width: int
    height: int
    channels: int
    orientation: int
    size_bytes: int

    @property
    def is_turned(self) -> bool:
        """Whether it is to be shown with width and height exchanged."""
        return self.orientation in (5, 6, 7, 8)


def image_info(cache: MediaCache, uri: str) -> ImageInfo:
    """Reads the header of the image at ``uri``, usually with one request for its first 8 KiB.

    Raises:
        UriError, SourceError, FileNotFoundError: as `open_media`.
        PIL.UnidentifiedImageError: Pillow does not know the format.
    """
    with open_media(cache, uri) as file:
        return read_image_info(file)


def read_image_info(file: MediaFile) -> ImageInfo:
    """As `image_info`, of an open file."""
    file.seek(0)
    head = file.read(12)
    if is_webp(head) and (webp := read_webp(file)) is not None:
        carrier = Image.new("L", (1, 1))
        carrier.info.update(webp.blocks)
        channels = 4 if webp.has_alpha else 3
        return ImageInfo("WEBP", webp.width, webp.height, channels, _orientation(carrier), file.size)
    image = _open_avif(file) if head[4:12] in _AVIF else _open(file)
    return ImageInfo(
        format=image.format or "",
        width=image.width,
        height=image.height,
        channels=len(image.getbands()),
        orientation=_orientation(image),
        size_bytes=file.size,
    )


def _open(file: MediaFile) -> Image.Image:
    file.seek(0)
    return Image.open(cast(IO[bytes], file))


def _open_avif(file: MediaFile) -> Image.Image:
    """An image of the format that Pillow hands to its decoder as a whole.

    The decoder parses the header only, so it is given the first bytes with zeros in place of the rest.
    Where it looks at the zeros it refuses them, and gets more of the file: in the end, all of it.
    """
    known = 8 << 10
    while known < file.size:
        file.seek(0)
        try:
            return Image.open(io.BytesIO(file.read(known).ljust(file.size, b"\0")))
        except Exception:
            known *= _GROWTH
    return _open(file)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1
    try:
        # The method of PNG images would decode the pixels, for a block that may come after them.
        value = Image.Image.getexif(image).get(_ORIENTATION)
    except Exception:
        if image.format == "JPEG":
            raise
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
