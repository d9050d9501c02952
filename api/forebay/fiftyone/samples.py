"""The property ``local_path`` of samples and frames."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.deferred import fomr
from forebay.fiftyone.media_uris import is_remote
from forebay.uri import is_local


def _local_path(sample: Any) -> Any:
    """The local path of the media: the cached copy of a remote file, downloaded if it is missing.

    A local filepath is returned as it is.

    Raises:
        UriError: Forebay cannot fetch URIs of this scheme.
        ForebayError: the media cannot be downloaded.
        UnsupportedMediaReferenceOperation: the sample is a part of a recording and has no file of its own.
    """
    path = sample.filepath
    if path is None:
        raise fomr.UnsupportedMediaReferenceOperation(
            f"sample {sample.id} is a part of a recording, which lies in several files: call "
            f"dataset.download_media() to cache them"
        )
    if not isinstance(path, str) or is_local(path) or is_remote(path):
        return local_media.local_path(path)
    return local_media.media_cache().local_path(path)


local_path = property(_local_path)
hooks.add("fiftyone.core.sample", "_SampleMixin.local_path")(local_path)
hooks.add("fiftyone.core.frame", "Frame.local_path", "FrameView.local_path")(local_path)
