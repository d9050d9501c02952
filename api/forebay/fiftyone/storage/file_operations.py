"""Copying, moving and deleting files. Remote objects are removed only if a call moves or deletes them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import Any

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.storage.paths import same_object
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE, as_str, remote_objects, upload


@hooks.around(STORAGE_MODULE, "_copy_file")
def copy_file(original: Wrapper, inpath: Any, outpath: Any, cleanup: bool = False) -> Any:
    source, target = as_str(inpath), as_str(outpath)
    if not is_remote(source) and not is_remote(target):
        return original(inpath, outpath, cleanup=cleanup)
    if cleanup and is_remote(source):
        # Checked first, so that nothing is copied that cannot be deleted afterwards.
        remote_objects().check_writable(source)
    transfer(source, target)
    if cleanup and not (is_remote(source) and is_remote(target) and same_object(source, target)):
        # The copy is complete: it was compared with the original.
        delete(source)
    return None


@hooks.around(STORAGE_MODULE, "_delete_file")
def delete_file(original: Wrapper, filepath: Any) -> Any:
    path = as_str(filepath)
    return remote_objects().delete(path) if is_remote(path) else original(filepath)


def transfer(source: str, target: str, *, keep: bool = False) -> None:
    """Copies one file between local and remote paths; copying a file to itself does nothing.

    Args:
        keep: whether to put an uploaded file into the media cache, too.

    Raises:
        ForebayError, OSError: the file cannot be read or written.
    """
    if not is_remote(source):
        upload(source, target, keep=keep)
    elif not is_remote(target):
        _download(source, target)
    elif not same_object(source, target):
        remote_objects().copy(source, target)


def delete(path: str) -> None:
    """Deletes one local or remote file."""
    if is_remote(path):
        remote_objects().delete(path)
    else:
        os.remove(path)


def _download(uri: str, path: str) -> None:
    """Copies a file out of the cache; the copy appears atomically."""
    if os.path.isdir(path):
        path = os.path.join(path, os.path.basename(uri))
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    partial = os.path.join(directory, f".forebay-{secrets.token_hex(8)}")
    # An open file stays readable even if it is evicted meanwhile.
    with local_media.media_cache().open(uri) as file:
        try:
            with open(partial, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise
