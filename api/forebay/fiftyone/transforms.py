"""Re-encoding and sampling: the result goes to a local directory, the remote original stays."""

from __future__ import annotations

import inspect
import os
from typing import Any

from forebay.errors import ForebayError
from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.deferred import fo
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.read_ahead import read_ahead
from forebay.fiftyone.uripaths import relpath, safe_name, without_query
from forebay.uri import entry_of, redact

_FRAMES = "sampled-frames"


@hooks.around("fiftyone.utils.image", "_transform_images")
@hooks.around("fiftyone.utils.video", "_transform_videos")
def transform(original: Wrapper, sample_collection: Any, *args: Any, **kwargs: Any) -> Any:
    """Refuses to write beside remote originals, before anything is downloaded.

    Raises:
        ValueError: there are remote media, and no ``output_dir``.
    """
    given = inspect.signature(original).bind(sample_collection, *args, **kwargs)
    given.apply_defaults()
    if given.arguments["output_dir"] is None and not given.arguments.get("sample_frames"):
        field = given.arguments["media_field"]
        remote = next((path for path in sample_collection.values(field) if is_remote(path)), None)
        if remote is not None:
            raise ValueError(
                f"{redact(remote)} is remote and is not changed in place: pass output_dir=, a local directory"
            )
    if given.arguments["delete_originals"] and any(
        is_remote(path) for path in sample_collection.values(given.arguments["media_field"])
    ):
        log.warning("remote originals are not deleted; fos.delete_files() deletes them")
    with read_ahead(sample_collection, given.arguments["media_field"]):
        return original(sample_collection, *args, **kwargs)


@hooks.around("fiftyone.utils.image", "_transform_image")
def transform_image(original: Wrapper, inpath: Any, *args: Any, **kwargs: Any) -> Any:
    """Keeps FiftyOne from deleting the remote original; it reads it through the cache."""
    if not is_remote(inpath):
        return original(inpath, *args, **kwargs)
    given = inspect.signature(original).bind(inpath, *args, **kwargs)
    return original(**{**given.arguments, "delete_original": False})


@hooks.around("fiftyone.utils.video", "_transform_video")
def transform_video(original: Wrapper, inpath: Any, outpath: Any, *args: Any, **kwargs: Any) -> Any:
    """Gives FiftyOne the cached copy, and keeps it from deleting that as the original."""
    if not is_remote(inpath):
        return original(inpath, outpath, *args, **kwargs)
    given = inspect.signature(original).bind(inpath, outpath, *args, **kwargs)
    given.apply_defaults()
    try:
        path = local_media.local_path(inpath)
    except ForebayError as error:
        if not given.arguments["skip_failures"]:
            raise
        log.warning("%s", error)
        return False
    arguments = {**given.arguments, "inpath": path, "delete_original": False}
    options = arguments.pop("kwargs", {})
    return original(**arguments, **options)


@hooks.around("fiftyone.utils.image", "_get_outpath")
@hooks.around("fiftyone.utils.video", "_get_outpath")
def get_outpath(original: Wrapper, inpath: Any, output_dir: Any = None, rel_dir: Any = None) -> Any:
    """The output path of a transformed file; for a remote one, always below a local directory."""
    if not is_remote(inpath):
        return original(inpath, output_dir=output_dir, rel_dir=rel_dir)
    if output_dir is None:
        # Depends on the URI only, so that frames that were sampled before are found again.
        return os.path.join(fo.config.default_dataset_dir, _FRAMES, entry_of(inpath))
    found = without_query(inpath)
    below = found if rel_dir is None else relpath(found, rel_dir)
    return os.path.join(output_dir, safe_name(found) if is_remote(below) else below)
