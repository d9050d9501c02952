"""Copies, moves and deletions. Only what is moved or deleted by name is ever removed from a store."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from typing import Any

from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote
from forebay.fiftyone.paths import same
from forebay.fiftyone.storage.access import MODULE, remote, text, upload


@hooks.around(MODULE, "_copy_file")
def copy_file(original: Wrapper, inpath: Any, outpath: Any, cleanup: bool = False) -> Any:
    source, target = text(inpath), text(outpath)
    if not is_remote(source) and not is_remote(target):
        return original(inpath, outpath, cleanup=cleanup)
    if cleanup and is_remote(source):
        # What cannot be deleted is not copied first.
        remote().check_writable(source)
    transfer(source, target)
    if cleanup and not (is_remote(source) and is_remote(target) and same(source, target)):
        # The copy is complete and was compared with the original.
        delete(source)
    return None


@hooks.around(MODULE, "_delete_file")
def delete_file(original: Wrapper, filepath: Any) -> Any:
    path = text(filepath)
    return remote().delete(path) if is_remote(path) else original(filepath)


def transfer(source: str, target: str, *, keep: bool = False) -> None:
    """Copies one file from anywhere to anywhere; to itself, it does nothing.

    Args:
        keep: put what is uploaded into the media cache, too.

    Raises:
        ForebayError, OSError: it cannot be read or written.
    """
    if not is_remote(source):
        upload(source, target, keep=keep)
    elif not is_remote(target):
        _download(source, target)
    elif not same(source, target):
        remote().copy(source, target)


def delete(path: str) -> None:
    """Deletes one file, wherever it is."""
    if is_remote(path):
        remote().delete(path)
    else:
        os.remove(path)


def _download(uri: str, path: str) -> None:
    """Copies a file out of the cache; it appears complete or not at all."""
    if os.path.isdir(path):
        path = os.path.join(path, os.path.basename(uri))
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    partial = os.path.join(directory, f".forebay-{secrets.token_hex(8)}")
    # Open, it can be read even when it is evicted meanwhile.
    with media.media_cache().open(uri) as file:
        try:
            with open(partial, "xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise
