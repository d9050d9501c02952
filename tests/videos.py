"""Videos for tests, made by ffmpeg: half a minute of noise, so that the index is a small part."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

_NOISE = "testsrc2=size=640x360:rate=24:duration=30,noise=alls=20:allf=t"
_TONE = "sine=frequency=440:duration=30"
_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1M", "-c:a", "aac")
_MPEG4 = ("-c:v", "mpeg4", "-b:v", "1M", "-an")

# Each container's name, and how to make it.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mp4, index at the end": ("end.mp4", _H264),
    "mp4, index at the start": ("start.mp4", (*_H264, "-movflags", "+faststart")),
    "mov": ("a.mov", _H264),
    "mkv": ("a.mkv", _H264),
    "webm": ("a.webm", ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "1M", "-an")),
    "avi": ("a.avi", _MPEG4),
}


def make_video(directory: Path, kind: str) -> Path:
    """Makes the video of a kind out of `KINDS`."""
    name, options = KINDS[kind]
    path = directory / name
    directory.mkdir(parents=True, exist_ok=True)
    inputs = ("-f", "lavfi", "-i", _NOISE, "-f", "lavfi", "-i", _TONE)
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *inputs, *options, str(path)], check=True)
    return path


def ffprobe(path: Path) -> dict[str, Any]:
    """What ffprobe says of a local file."""
    command = ["ffprobe", "-loglevel", "error", "-show_format", "-show_streams", "-print_format", "json"]
    answer = subprocess.run([*command, "-i", str(path)], check=True, capture_output=True).stdout
    found: dict[str, Any] = json.loads(answer)
    return found
