"""The shape of media whose metadata the dataset lacks, from their first bytes, once in a session."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from forebay.fiftyone import hooks
from forebay.fiftyone.app.threads import in_thread
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote, media_cache

T = TypeVar("T")

_REMEMBERED = 100_000


class Once(Generic[T]):
    """What was found out about each URI; asked by many threads at once, it is found out once.

    A failure is not remembered.

    Args:
        find: finds it out.
    """

    def __init__(self, find: Callable[[str], T]) -> None:
        self._find = find
        self._lock = threading.Lock()
        self._known: OrderedDict[str, T] = OrderedDict()
        self._asking: dict[str, threading.Lock] = {}

    def get(self, uri: str) -> T | None:
        """What is known already."""
        return self._known.get(uri)

    def ask(self, uri: str) -> T:
        """What is known, or can be found out now."""
        with self._lock:
            asking = self._asking.setdefault(uri, threading.Lock())
        with asking:
            known = self._known.get(uri)
            if known is None:
                try:
                    known = self._find(uri)
                    with self._lock:
                        self._known[uri] = known
                        if len(self._known) > _REMEMBERED:
                            self._known.popitem(last=False)
                finally:
                    # Only now: who comes between would find it out once more.
                    with self._lock:
                        self._asking.pop(uri, None)
        return known


def _shape(uri: str) -> dict[str, float]:
    from forebay.headers.image_info import image_info

    info = image_info(media_cache(), uri)
    # As `compute_metadata` has it, which heeds the orientation of JPEG images only.
    if info.format == "JPEG" and info.is_turned:
        return {"aspect_ratio": info.height / info.width}
    return {"aspect_ratio": info.width / info.height}


def _stream(uri: str) -> Any:
    import eta.core.utils as etau
    import eta.core.video as etav

    from forebay.headers.video_info import video_info

    info = video_info(media_cache(), uri)
    return etav.VideoStreamInfo(
        info.video or info.streams[0], info.format, mime_type=etau.guess_mime_type(uri)
    )


_shapes = Once(_shape)
_streams = Once(_stream)


@hooks.around("fiftyone.server.metadata", "read_metadata")
async def read_metadata(original: Wrapper, filepath: Any, is_video: bool) -> Any:
    import fiftyone.core.media as fom

    if is_video or not is_remote(filepath):
        return await original(filepath, is_video)
    if fom.get_media_type(filepath) != fom.IMAGE:
        return {"aspect_ratio": 1}
    known = _shapes.get(filepath)
    return dict(await in_thread(_shapes.ask, filepath) if known is None else known)


@hooks.around("fiftyone.server.metadata", "get_stream_info")
async def get_stream_info(original: Wrapper, path: Any) -> Any:
    import fiftyone.server.metadata as fosm

    # Without ffprobe, FiftyOne's own error says what to install.
    if not is_remote(path) or fosm._FFPROBE_BINARY_PATH is None:
        return await original(path)
    return _streams.get(path) or await in_thread(_streams.ask, path)
