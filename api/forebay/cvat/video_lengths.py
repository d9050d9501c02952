"""Videos in which CVAT finds other frames than FiftyOne does."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from forebay.cache import MediaCache
from forebay.cvat.server import CvatServer
from forebay.errors import CvatError
from forebay.headers.video_info import VideoInfo, video_info
from forebay.threads import map_in_threads
from forebay.uri import redact

_THREADS = 8
# A rate is rounded, and the last frame may be short.
_TOLERANCE, _RELATIVE_TOLERANCE = 0.75, 1e-4
_REMEDY = "ffmpeg -i OLD NEW.mp4, upload it, and run compute_metadata(overwrite=True)"


def read_lengths(cache: MediaCache, uris: Sequence[str]) -> dict[str, int]:
    """The number of frames of each video, where its index has it.

    Raises:
        CvatError: CVAT would number the frames of one differently.
        SourceError, MediaError: one cannot be read.
    """
    uris = list(dict.fromkeys(uris))
    found = map_in_threads(lambda uri: _length(cache, uri), uris, _THREADS, "forebay-headers")
    return {uri: length for uri, length in zip(uris, found, strict=True) if length is not None}


def check_length(server: CvatServer, task_id: int, name: str, length: int, options: dict[str, Any]) -> None:
    """Checks that a task has the frames of its video that were asked for.

    Args:
        length: how many frames the video has to FiftyOne.
        options: with which it was imported: ``start_frame``, ``stop_frame``, ``frame_filter``.

    Raises:
        CvatError: it has others.
    """
    first, last = options.get("start_frame") or 0, options.get("stop_frame")
    step = int(str(options.get("frame_filter") or "step=1").partition("=")[2])
    expected = len(range(first, length if last is None else min(last + 1, length), step))
    found = server.get(f"/api/tasks/{task_id}/data/meta")["size"]
    if found != expected:
        raise CvatError(
            f"CVAT's task {task_id} has {found:,} frames of {name!r}, but to FiftyOne there are "
            f"{expected:,}; labels would end up on the wrong ones, so none were sent. Encode the video anew, "
            f"so that each frame of the file is shown, and run compute_metadata(overwrite=True): ffmpeg -i "
            "OLD NEW.mp4"
        )


def _length(cache: MediaCache, uri: str) -> int | None:
    info = video_info(cache, uri)
    shown = redact(uri)
    if "mpegts" in str(info.format.get("format_name")):
        raise CvatError(
            f"{shown} is an MPEG transport stream, in which CVAT cannot find a frame by its time. Make an "
            f"MP4 file of it: {_REMEDY}"
        )
    hidden = _hidden_frames(info)
    if hidden:
        raise CvatError(
            f"{shown} has an edit list that hides about {hidden:,} of its frames (it was cut without being "
            f"encoded anew): CVAT does not count them, FiftyOne does, so labels would end up on the wrong "
            f"frames. Encode it anew: {_REMEDY}"
        )
    length = (info.video or {}).get("nb_frames")
    return int(length) if length else None


def _hidden_frames(info: VideoInfo) -> int:
    """How many frames more the index has than fit into the time that is shown."""
    video = info.video or {}
    try:
        frames, seconds = int(video["nb_frames"]), Fraction(video["duration"])
        hidden = float(frames - seconds * Fraction(video["avg_frame_rate"]))
    except (KeyError, ValueError, ZeroDivisionError):
        return 0
    return max(1, round(hidden)) if hidden > max(_TOLERANCE, frames * _RELATIVE_TOLERANCE) else 0
