"""The functions through which FiftyOne reads media, each given a local file."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper


@hooks.around("fiftyone.utils.image", "read")
def read_image(original: Wrapper, path_or_url: Any, *args: Any, **kwargs: Any) -> Any:
    with media.reading(path_or_url) as path:
        return original(path, *args, **kwargs)


@hooks.around("fiftyone.utils.torch", "_load_image")
def load_image(original: Wrapper, image_path: Any, *args: Any, **kwargs: Any) -> Any:
    with media.reading(image_path) as path:
        return original(path, *args, **kwargs)


@hooks.around("fiftyone.core.utils", "compute_filehash")
def compute_filehash(original: Wrapper, filepath: Any, *args: Any, **kwargs: Any) -> Any:
    with media.reading(filepath) as path:
        return original(path, *args, **kwargs)


@hooks.around("eta.core.video", "FFmpegVideoReader.__init__", "OpenCVVideoReader.__init__")
def open_video(original: Wrapper, self: Any, inpath: Any, *args: Any, **kwargs: Any) -> Any:
    return original(self, media.local(inpath), *args, **kwargs)


@hooks.around("eta.core.video", "FFmpeg.run", "FFprobe.run")
def run_ffmpeg(original: Wrapper, self: Any, inpath: Any, *args: Any, **kwargs: Any) -> Any:
    return original(self, media.local(inpath), *args, **kwargs)
