"""The functions through which FiftyOne reads media; each gets a local path instead of a URI."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.hooks import Wrapper


@hooks.around("fiftyone.utils.image", "read")
def read_image(original: Wrapper, path_or_url: Any, *args: Any, **kwargs: Any) -> Any:
    with local_media.path_for_reading(path_or_url) as path:
        return original(path, *args, **kwargs)


@hooks.around("fiftyone.utils.torch", "_load_image")
def load_image(original: Wrapper, image_path: Any, *args: Any, **kwargs: Any) -> Any:
    with local_media.path_for_reading(image_path) as path:
        return original(path, *args, **kwargs)


@hooks.around("fiftyone.core.utils", "compute_filehash")
def compute_filehash(original: Wrapper, filepath: Any, *args: Any, **kwargs: Any) -> Any:
    with local_media.path_for_reading(filepath) as path:
        return original(path, *args, **kwargs)


@hooks.around("eta.core.video", "FFmpegVideoReader.__init__", "OpenCVVideoReader.__init__")
def open_video(original: Wrapper, self: Any, inpath: Any, *args: Any, **kwargs: Any) -> Any:
    return original(self, local_media.local_path(inpath), *args, **kwargs)


@hooks.around("eta.core.video", "FFmpeg.run", "FFprobe.run")
def run_ffmpeg(original: Wrapper, self: Any, inpath: Any, *args: Any, **kwargs: Any) -> Any:
    return original(self, local_media.local_path(inpath), *args, **kwargs)


@hooks.around("fiftyone.utils.utils3d", "_parse_point_cloud")
def parse_point_cloud(original: Wrapper, filepath: Any, *args: Any, **kwargs: Any) -> Any:
    return original(local_media.local_path(filepath), *args, **kwargs)


@hooks.around("fiftyone.utils.video", "concat_videos")
def concat_videos(original: Wrapper, input_paths: Any, *args: Any, **kwargs: Any) -> Any:
    """Keeps all of the files until ffmpeg, which is given a list of them, has read them."""
    with local_media.leased_paths(list(input_paths)) as paths:
        return original(paths, *args, **kwargs)


@hooks.around("fiftyone.utils.cvat", "CVATAnnotationAPI._parse_local_files")
def parse_local_files(original: Wrapper, self: Any, paths: Any) -> Any:
    """Keeps all of the files until FiftyOne, which uploads them to CVAT, has read them."""
    with local_media.leased_paths(list(paths)) as local:
        return original(self, local)
