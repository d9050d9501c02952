"""The functions through which FiftyOne reads media, each given a local file."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper

_LEASE_SECONDS = 3600.0


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


@hooks.around("fiftyone.utils.utils3d", "_read_point_cloud")
def read_point_cloud(original: Wrapper, filepath: Any) -> Any:
    return original(media.local(filepath))


@hooks.around("fiftyone.utils.video", "concat_videos")
def concat_videos(original: Wrapper, input_paths: Any, *args: Any, **kwargs: Any) -> Any:
    """ffmpeg is given a list of the files, so they are all kept until it has read them."""
    paths = list(input_paths)
    remote = [path for path in paths if media.is_remote(path)]
    if not remote:
        return original(paths, *args, **kwargs)
    with media.media_cache().lease(remote, _LEASE_SECONDS):
        return original([media.local(path) for path in paths], *args, **kwargs)
