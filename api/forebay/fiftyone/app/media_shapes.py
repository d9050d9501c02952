"""The shapes of media without metadata in the dataset, read from their headers once per process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from forebay.fiftyone import hooks
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.deferred import etau, etav, fom, fosm
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.metadata import size_in_fiftyone
from forebay.headers.image_info import image_info
from forebay.headers.video_info import video_info

T = TypeVar("T")

_MAX_KNOWN = 100_000


class SingleFlightCache(Generic[T]):
    """Caches one value for each URI; threads that ask for the same one at once share one computation.

    Errors are not cached.

    Args:
        compute: computes the value of a URI.
    """

    def __init__(self, compute: Callable[[str], T]) -> None:
        self._compute = compute
        self._lock = threading.Lock()
        self._known: OrderedDict[str, T] = OrderedDict()
        self._computing: dict[str, threading.Lock] = {}

    def peek(self, uri: str) -> T | None:
        """The cached value; ``None`` if there is none."""
        return self._known.get(uri)

    def get(self, uri: str) -> T:
        """The value, computed if it is not cached."""
        with self._lock:
            computing = self._computing.setdefault(uri, threading.Lock())
        with computing:
            known = self._known.get(uri)
            if known is None:
                try:
                    known = self._compute(uri)
                    with self._lock:
                        self._known[uri] = known
                        if len(self._known) > _MAX_KNOWN:
                            self._known.popitem(last=False)
                finally:
                    # Only after the value is cached: a thread that came in between would compute it again.
                    with self._lock:
                        self._computing.pop(uri, None)
        return known


def _shape(uri: str) -> dict[str, float]:
    width, height = size_in_fiftyone(image_info(media_cache(), uri))
    return {"aspect_ratio": width / height}


def _stream(uri: str) -> Any:
    info = video_info(media_cache(), uri)
    return etav.VideoStreamInfo(
        info.video or info.streams[0], info.format, mime_type=etau.guess_mime_type(uri)
    )


_shapes = SingleFlightCache(_shape)
_streams = SingleFlightCache(_stream)


@hooks.around("fiftyone.server.metadata", "read_metadata")
async def read_metadata(original: Wrapper, filepath: Any, is_video: bool) -> Any:
    if is_video or not is_remote(filepath):
        return await original(filepath, is_video)
    if fom.get_media_type(filepath) != fom.IMAGE:
        return {"aspect_ratio": 1}
    known = _shapes.peek(filepath)
    return dict(await in_thread(_shapes.get, filepath) if known is None else known)


@hooks.around("fiftyone.server.metadata", "get_stream_info")
async def get_stream_info(original: Wrapper, path: Any) -> Any:
    # Without ffprobe, FiftyOne's own error says what to install.
    if not is_remote(path) or fosm._FFPROBE_BINARY_PATH is None:
        return await original(path)
    return _streams.peek(path) or await in_thread(_streams.get, path)
