"""Metadata of remote media, from their headers only."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.deferred import etau, fo, fo3d, fom, fomd, fou
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.json_media import parse_json_object
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.media_uris import file_name, is_remote
from forebay.fiftyone.uripaths import abspath, isabs, join
from forebay.headers.image_info import ImageInfo, image_info
from forebay.headers.media_files import open_media, size_of
from forebay.headers.video_info import video_info
from forebay.uri import parse, redact, remote_schemes

# Reading headers waits for the network, not for the CPU.
_MIN_THREADS = 16


@hooks.around("fiftyone.core.metadata", "Metadata.build_for")
def build_for_file(original: Wrapper, cls: Any, path_or_url: Any, mime_type: Any = None) -> Any:
    if not is_remote(path_or_url):
        return original(cls, path_or_url, mime_type=mime_type)
    if mime_type is None:
        mime_type = etau.guess_mime_type(path_or_url)
    return cls(size_bytes=size_of(media_cache(), path_or_url), mime_type=mime_type)


@hooks.around("fiftyone.core.metadata", "ImageMetadata.build_for")
def build_for_image(original: Wrapper, cls: Any, img_or_path_or_url: Any, mime_type: Any = None) -> Any:
    if not is_remote(img_or_path_or_url):
        return original(cls, img_or_path_or_url, mime_type=mime_type)
    info = image_info(media_cache(), img_or_path_or_url)
    width, height = size_in_fiftyone(info)
    return cls(
        size_bytes=info.size_bytes,
        mime_type=etau.guess_mime_type(img_or_path_or_url) if mime_type is None else mime_type,
        width=width,
        height=height,
        num_channels=info.channels,
    )


@hooks.around("eta.core.video", "_get_stream_info")
def get_stream_info(original: Wrapper, inpath: Any, *args: Any, **kwargs: Any) -> Any:
    if not is_remote(inpath):
        return original(inpath, *args, **kwargs)
    info = video_info(media_cache(), inpath)
    if info.video is None:
        log.warning("%s: no video stream found; defaulting to first stream", redact(inpath))
    return info.video or info.streams[0], info.format


@hooks.around("fiftyone.core.metadata", "SceneMetadata.build_for")
def build_for_scene(
    original: Wrapper, cls: Any, scene_path: Any, mime_type: Any = None, **kwargs: Any
) -> Any:
    if not is_remote(scene_path):
        return original(cls, scene_path, mime_type=mime_type, **kwargs)
    with open_media(media_cache(), scene_path) as file:
        scene = fo3d.Scene._from_fo3d_dict(parse_json_object(file.read(), scene_path))
        size = file.size
    kwargs["cache"] = kwargs.pop("_cache", None)
    counts, assets_size = fomd._parse_assets(scene, scene_path, **kwargs)
    return cls(
        size_bytes=size + assets_size,
        mime_type="application/octet-stream" if mime_type is None else mime_type,
        asset_counts=counts,
    )


@hooks.around("fiftyone.core.metadata", "_parse_assets")
def parse_assets(original: Wrapper, scene: Any, scene_path: Any, *args: Any, **kwargs: Any) -> Any:
    paths = scene.get_asset_paths()
    if is_remote(scene_path):
        directory = _without_query(scene_path).rpartition("/")[0]
        paths = [path if isabs(path) else abspath(join(directory, path)) for path in paths]
    elif not any(map(is_remote, paths)):
        return original(scene, scene_path, *args, **kwargs)
    _, size = original(_Assets(paths), scene_path, *args, **kwargs)
    # A URL's extension may be followed by a query string.
    return dict(Counter(os.path.splitext(file_name(path))[1][1:] for path in paths)), size


@hooks.around("fiftyone.core.metadata", "_compute_sample_metadata")
def compute_sample_metadata(
    original: Wrapper,
    filepath: Any,
    media_type: Any,
    skip_failures: bool = True,
    cache: Any = None,
    warn_failures: bool = True,
) -> Any:
    options = {"skip_failures": skip_failures, "cache": cache, "warn_failures": warn_failures}
    if not is_remote(filepath):
        return original(filepath, media_type, **options)
    try:
        return fomd._get_metadata(filepath, media_type, **options)
    except Exception as error:
        if warn_failures:
            # FiftyOne's message, without the signature that a URL may contain.
            shown = redact(filepath)
            log.warning("Failed to compute sample metadata for sample '%s' due to: %s", shown, error)
        if skip_failures:
            return None
        raise


@hooks.around("fiftyone.core.metadata", "compute_metadata")
def compute_metadata(
    original: Wrapper,
    sample_collection: Any,
    overwrite: bool = False,
    num_workers: int | None = None,
    **kwargs: Any,
) -> Any:
    if (
        num_workers is None
        and fo.config.default_thread_pool_workers is None
        and _has_remote(sample_collection)
    ):
        num_workers = max(_MIN_THREADS, fou.recommend_thread_pool_workers())
    return original(sample_collection, overwrite=overwrite, num_workers=num_workers, **kwargs)


def size_in_fiftyone(info: ImageInfo) -> tuple[int, int]:
    """Width and height of an image as FiftyOne has them: it applies the EXIF orientation of JPEG only."""
    if info.format == "JPEG" and info.is_turned:
        return info.height, info.width
    return info.width, info.height


@dataclass(frozen=True)
class _Assets:
    """Stands for a scene whose asset paths are absolute."""

    paths: list[str]

    def get_asset_paths(self) -> list[str]:
        return list(self.paths)


def _has_remote(collection: Any) -> bool:
    if collection.media_type == fom.GROUP:
        collection = collection.select_group_slices(_allow_mixed=True)
    schemes = [f"{scheme}://" for scheme in remote_schemes()]
    remote = collection.match(fo.ViewField("filepath").starts_with(schemes, case_sensitive=False)).limit(1)
    return len(remote) > 0


def _without_query(uri: str) -> str:
    parsed = parse(uri)
    return uri.partition("?")[0].partition("#")[0] if parsed.is_url else uri
