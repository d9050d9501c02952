"""ETA's file operations: remote media are copied out of the cache, never moved, linked or deleted."""

from __future__ import annotations

import os
from typing import Any

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.deferred import etau, fos
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.uripaths import relpath, safe_name, without_query
from forebay.uri import redact


@hooks.around("eta.core.utils", "copy_file")
def copy_file(original: Wrapper, inpath: Any, outpath: Any, *args: Any, **kwargs: Any) -> None:
    if is_remote(outpath):
        fos.copy_file(inpath, outpath)
    else:
        original(local_media.local_path(inpath), outpath, *args, **kwargs)


@hooks.around("eta.core.utils", "move_file", "symlink_file")
def move_or_link_file(original: Wrapper, inpath: Any, outpath: Any, *args: Any, **kwargs: Any) -> None:
    """Copies remote files instead, because a link into the cache breaks when the entry is evicted."""
    if is_remote(inpath) or is_remote(outpath):
        etau.copy_file(inpath, outpath)
    else:
        original(inpath, outpath, *args, **kwargs)


@hooks.around("eta.core.utils", "delete_file")
def delete_file(original: Wrapper, path: Any) -> None:
    """Refuses to delete remote files; only the functions of ``fiftyone.core.storage`` do."""
    if is_remote(path):
        log.warning("%s is remote and was not deleted; fos.delete_file() deletes it", redact(path))
    else:
        original(path)


@hooks.around("eta.core.utils", "ensure_basedir", "ensure_dir")
def ensure_dir(original: Wrapper, path: Any) -> None:
    """Does nothing for URIs: object stores need no directories."""
    if not is_remote(path):
        original(path)


@hooks.around("fiftyone.utils.image", "write")
def write_image(original: Wrapper, img: Any, path: Any) -> None:
    if not is_remote(path):
        original(img, path)
        return
    with fos.TempDir() as directory:
        local = os.path.join(directory, os.path.basename(path))
        original(img, local)
        fos.copy_file(local, path)


@hooks.around("fiftyone.core.utils", "safe_relpath")
def safe_relpath(original: Wrapper, path: Any, start: Any = None, default: Any = None) -> Any:
    """Names a URI outside ``start`` by its file name, so that the result is a relative path."""
    if not is_remote(path):
        return original(path, start=start, default=default)
    found = relpath(path, start)
    if not is_remote(found):
        return found
    return safe_name(path) if default is None else default


@hooks.around("fiftyone.core.utils", "UniqueFilenameMaker.get_output_path")
def get_output_path(original: Wrapper, self: Any, input_path: Any = None, *args: Any, **kwargs: Any) -> Any:
    return original(self, without_query(input_path), *args, **kwargs)


@hooks.around("fiftyone.core.utils", "UniqueFilenameMaker.seen_input_path")
def seen_input_path(original: Wrapper, self: Any, input_path: Any) -> Any:
    return original(self, without_query(input_path))
