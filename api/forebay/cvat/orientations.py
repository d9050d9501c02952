"""Images whose size CVAT finds to be another than FiftyOne's when it opens them itself."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from forebay.cache import MediaCache
from forebay.errors import ForebayError
from forebay.headers.image_info import read_image_info
from forebay.headers.media_files import open_media
from forebay.threads import map_in_threads

# Reading a header waits for the network, not for the CPU.
_THREADS = 32
_FIRST_BYTES = 2 << 10
_ORIENTATION = 0x0112
# FiftyOne turns these as their EXIF data say, as CVAT does.
_JPEG = (".jpg", ".jpeg")
_TIFF = (".tif", ".tiff")


def is_tiff(name: str) -> bool:
    return name.lower().endswith(_TIFF)


def is_rotated_by_cvat_only(
    name: str, there: tuple[int | None, int | None], here: tuple[int | None, int | None]
) -> bool:
    """Whether sizes differ only because CVAT applies every format's EXIF orientation, FiftyOne JPEG's.

    Both turn TIFF images, as Pillow does.
    """
    return there != here and there == here[::-1] and not name.lower().endswith((*_JPEG, *_TIFF))


def find_turned(cache: MediaCache, uris: Sequence[str]) -> list[str]:
    """The images that are to be shown with width and height exchanged, of those that are no JPEG images.

    An image that cannot be read is not among them: the check that needs its size says so.
    """
    asked = [uri for uri in uris if not uri.lower().endswith(_JPEG)]
    turned = map_in_threads(lambda uri: _is_turned(cache, uri), asked, _THREADS, "forebay-headers")
    return [uri for uri, is_turned in zip(asked, turned, strict=True) if is_turned]


def _is_turned(cache: MediaCache, uri: str) -> bool:
    try:
        with open_media(cache, uri, first_bytes=_FIRST_BYTES) as file:
            info = read_image_info(file)
            if info.format != "TIFF":
                return info.is_turned
            # Its size is that of the turned image already; CVAT turns it once more.
            file.seek(0)
            return bool(Image.open(file).getexif().get(_ORIENTATION, 1) > 4)  # type: ignore[arg-type]
    except (ForebayError, OSError):
        return False
