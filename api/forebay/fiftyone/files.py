"""Copies of media: what is remote is copied out of the cache, and never moved, linked or deleted."""

from __future__ import annotations

from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.log import log
from forebay.fiftyone.media import is_remote
from forebay.fiftyone.uripaths import name_of, plain, relpath
from forebay.uri import redact


@hooks.around("eta.core.utils", "copy_file")
def copy_file(original: Wrapper, inpath: Any, outpath: Any, *args: Any, **kwargs: Any) -> None:
    if is_remote(outpath):
        _copy_to_remote(inpath, outpath)
    else:
        original(media.local(inpath), outpath, *args, **kwargs)


@hooks.around("eta.core.utils", "move_file", "symlink_file")
def move_or_link_file(original: Wrapper, inpath: Any, outpath: Any, *args: Any, **kwargs: Any) -> None:
    """A link into the cache would soon lead nowhere, so a remote file is copied instead."""
    import eta.core.utils as etau

    if is_remote(inpath) or is_remote(outpath):
        etau.copy_file(inpath, outpath)
    else:
        original(inpath, outpath, *args, **kwargs)


@hooks.around("eta.core.utils", "delete_file")
def delete_file(original: Wrapper, path: Any) -> None:
    """Only the storage functions delete remote files."""
    if is_remote(path):
        log.warning("%s is remote and was not deleted; fos.delete_file() deletes it", redact(path))
    else:
        original(path)


@hooks.around("eta.core.utils", "ensure_basedir", "ensure_dir")
def ensure_dir(original: Wrapper, path: Any) -> None:
    """Object stores need no directories."""
    if not is_remote(path):
        original(path)


@hooks.around("fiftyone.utils.image", "write")
def write_image(original: Wrapper, img: Any, path: Any) -> None:
    import os

    import fiftyone.core.storage as fos

    if not is_remote(path):
        original(img, path)
        return
    with fos.TempDir() as directory:
        drawn = os.path.join(directory, os.path.basename(path))
        original(img, drawn)
        fos.copy_file(drawn, path)


@hooks.around("fiftyone.core.utils", "safe_relpath")
def safe_relpath(original: Wrapper, path: Any, start: Any = None, default: Any = None) -> Any:
    """A URI outside ``start`` is known by its file name, so that nothing is written where it points."""
    if not is_remote(path):
        return original(path, start=start, default=default)
    found = relpath(path, start)
    if not is_remote(found):
        return found
    return name_of(path) if default is None else default


@hooks.around("fiftyone.core.utils", "UniqueFilenameMaker.get_output_path")
def get_output_path(original: Wrapper, self: Any, input_path: Any = None, *args: Any, **kwargs: Any) -> Any:
    return original(self, plain(input_path), *args, **kwargs)


@hooks.around("fiftyone.core.utils", "UniqueFilenameMaker.seen_input_path")
def seen_input_path(original: Wrapper, self: Any, input_path: Any) -> Any:
    return original(self, plain(input_path))


def _copy_to_remote(inpath: Any, outpath: str) -> None:
    import fiftyone.core.storage as fos

    fos.copy_file(inpath, outpath)
