"""The format and streams of a video, as ffprobe describes them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from forebay.cache import MediaCache
from forebay.errors import MediaError
from forebay.headers.bridge import bridge
from forebay.headers.media_files import existing_path
from forebay.headers.ranges import RemoteBytes
from forebay.uri import parse_object, redact

FIRST_BYTES = 64 << 10
_SHOWN = ("-show_format", "-show_streams", "-print_format", "json")


@dataclass(frozen=True)
class VideoInfo:
    """One media file, as ``ffprobe -show_format -show_streams`` describes it.

    Attributes:
        format: of the file; ``filename`` is its URI without secrets, or its path.
        streams: in the order of the file.
    """

    format: dict[str, Any]
    streams: list[dict[str, Any]]

    @property
    def video(self) -> dict[str, Any] | None:
        """The first video stream."""
        return next((stream for stream in self.streams if stream.get("codec_type") == "video"), None)


def video_info(cache: MediaCache, uri: str) -> VideoInfo:
    """Reads the format and the streams of the video at ``uri``.

    Of a remote object that is not cached, only the parts that ffprobe asks for are fetched: the index,
    wherever it is, and the first frames.

    Raises:
        UriError: the URI cannot be understood.
        SourceError: the object cannot be read; the subclass says why.
        MediaError: ffprobe is not installed, or cannot read the file.
    """
    path = existing_path(cache, uri)
    if path is not None:
        return _probe(path, path)
    parsed = parse_object(uri)
    remote = RemoteBytes(cache, parsed, first_bytes=FIRST_BYTES)
    try:
        with bridge(remote, parsed.key) as served:
            # The proxy keeps playlists, which name other URLs, from leading ffprobe anywhere else; and
            # a proxy of the environment would be asked for an address of this machine.
            environment = {**os.environ, "http_proxy": served.proxy, "no_proxy": ""}
            options = ("-recv_buffer_size", "16384", "-protocol_whitelist", "http,tcp")
            try:
                found = _probe(served.url, parsed.redacted, *options, environment=environment)
            except MediaError:
                if served.error is None:
                    raise
    finally:
        remote.close()
    if served.error is not None:
        raise served.error
    return found


def _probe(address: str, shown: str, *options: str, environment: dict[str, str] | None = None) -> VideoInfo:
    command = ["ffprobe", "-loglevel", "error", *options, *_SHOWN, "-i", address]
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise MediaError(
            f"{redact(shown)}: cannot be looked into without ffprobe, which is not installed: install ffmpeg"
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").replace(address, redact(shown)).strip()
        last = said.rpartition("\n")[2].removeprefix(f"{redact(shown)}: ")
        raise MediaError(f"{redact(shown)}: ffprobe cannot read it: {last or 'it does not say why'}")
    answer = json.loads(done.stdout)
    return VideoInfo({**answer["format"], "filename": shown}, answer["streams"])
