"""Writing the manifest of a video."""

from __future__ import annotations

import hashlib
import io
import mimetypes
import posixpath
from collections.abc import Iterator
from typing import IO, Any

import forebay
from forebay.cache import MediaCache
from forebay.cvat.manifest_files import write_manifest
from forebay.cvat.manifest_format import video_lines
from forebay.cvat.manifest_location import locate_manifest, parse_in_bucket
from forebay.cvat.manifest_report import ManifestReport
from forebay.cvat.media_names import MPEG_TS, is_canonical
from forebay.errors import ConfigError, MediaError, UriError
from forebay.uri import redact


def create_video_manifest(
    uri: str, output: str | None = None, *, cache: MediaCache | None = None
) -> ManifestReport:
    """Writes the manifest of one video for CVAT: a list of its key frames, which CVAT uses to seek.

    The video is downloaded into the cache, because the manifest has a checksum of each key frame's pixels.

    Args:
        uri: the video.
        output: a URI beside the video, or a local path; by default that of the video, with ``.jsonl`` in
            place of its extension.
        cache: `forebay.media_cache` by default.

    Raises:
        UriError: a URI cannot be parsed, or the manifest would not lie beside the video.
        MediaError: the video cannot be read.
        ConfigError: PyAV is not installed.
        ForebayError: the video cannot be downloaded; as `forebay.local_path`.
    """
    if cache is None:
        cache = forebay.media_cache
    if not is_canonical(parse_in_bucket(uri).key):
        raise UriError(
            f"{redact(uri)}: CVAT does not accept a key with an empty part, '.' or '..' between slashes; "
            f"copy it to another key",
            uri=redact(uri),
        )
    directory, _, name = uri.rpartition("/")
    location = locate_manifest(output or f"{posixpath.splitext(uri)[0]}.jsonl", uri, directory)
    if location.name_of(uri) != name:
        shown = redact(location.path)
        raise UriError(f"{shown}: the manifest of a video lies beside it, in {directory}/", uri=shown)
    with cache.open(uri, whole=True) as file:
        lines = b"".join(_lines(file, name, redact(uri)))
    write_manifest(io.BytesIO(lines), location.path, cache)
    return ManifestReport(location.path, added=1)


def is_video(uri: str) -> bool:
    """Whether a URI is that of a video, by its extension."""
    name = uri.rpartition("/")[2]
    return name.lower().endswith(MPEG_TS) or (mimetypes.guess_type(name)[0] or "").startswith("video/")


def _lines(file: IO[bytes], name: str, shown: str) -> Iterator[bytes]:
    try:
        # PyAV is an extra, and loads ffmpeg.
        import av
    except ImportError:
        raise ConfigError("manifests of videos need PyAV; run: pip install 'forebay[cvat]'") from None
    try:
        with av.open(file, mode="r") as container:
            stream = container.streams.video[0]
            width, height, length, key_frames = _key_frames(container, stream)
            key_frames = [each for each in key_frames if _is_found(container, stream, each)]
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"{shown}: cannot be read as a video: {error}") from None
    if not key_frames or key_frames[0][0] != 0:
        raise MediaError(
            f"{shown}: its first frame cannot be found by its time, as CVAT does it (an MPEG transport "
            f"stream, or an edit list that cuts the beginning off). Encode it anew: ffmpeg -i OLD NEW.mp4"
        )
    yield from video_lines(name, width, height, length, key_frames)


def _key_frames(container: Any, stream: Any) -> tuple[int, int, int, list[tuple[int, int, str]]]:
    stream.thread_type = "AUTO"
    found, length, width, height = [], 0, 0, 0
    for frame in container.decode(stream):
        if not length:
            width, height = _shown_size(frame)
        if frame.key_frame:
            found.append((length, frame.pts, _checksum(frame)))
        length += 1
    return width, height, length, found


def _is_found(container: Any, stream: Any, key_frame: tuple[int, int, str]) -> bool:
    """Whether a seek to the time of a key frame leads to it; CVAT leaves out those of which it does not."""
    _, pts, checksum = key_frame
    container.seek(pts, stream=stream)
    frame = next(container.decode(stream), None)
    return frame is not None and frame.pts == pts and _checksum(frame) == checksum


def _checksum(frame: Any) -> str:
    """The checksum that CVAT computes of a frame's pixels."""
    return hashlib.md5(frame.to_image().tobytes(), usedforsecurity=False).hexdigest()


def _shown_size(frame: Any) -> tuple[int, int]:
    turned = round(getattr(frame, "rotation", 0)) % 180 != 0
    return (frame.height, frame.width) if turned else (frame.width, frame.height)
