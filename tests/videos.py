"""Videos for tests, made by ffmpeg: half a minute of noise, so that the index is a small part."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

_NOISE = "testsrc2=size=320x180:rate=24:duration=30,noise=alls=60:allf=t"
_TONE = "sine=frequency=440:duration=30"
_ENCODED = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1M", "-c:a", "aac")

# Each container's file, and how it is made of the first one.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mp4, index at the end": ("end.mp4", ()),
    "mp4, index at the start": ("start.mp4", ("-movflags", "+faststart")),
    "mov": ("a.mov", ()),
    "mkv": ("a.mkv", ()),
    "avi": ("a.avi", ()),
}


def make_videos(directory: Path) -> dict[str, Path]:
    """Makes a video of each kind out of `KINDS`; only the first is encoded."""
    (first, _), *others = KINDS.values()
    _ffmpeg("-f", "lavfi", "-i", _NOISE, "-f", "lavfi", "-i", _TONE, *_ENCODED, str(directory / first))
    for name, options in others:
        _ffmpeg("-i", str(directory / first), "-c", "copy", *options, str(directory / name))
    return {kind: directory / name for kind, (name, _) in KINDS.items()}


def ffprobe(path: Path) -> dict[str, Any]:
    """What ffprobe says of a local file."""
    command = ["ffprobe", "-loglevel", "error", "-show_format", "-show_streams", "-print_format", "json"]
    answer = subprocess.run([*command, "-i", str(path)], check=True, capture_output=True).stdout
    found: dict[str, Any] = json.loads(answer)
    return found


def _ffmpeg(*arguments: str) -> None:
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *arguments]
    subprocess.run(command, check=True)
