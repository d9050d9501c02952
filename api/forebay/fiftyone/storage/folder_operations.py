"""Copying, moving, deleting and emptying folders, and archives of them."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.deferred import fos
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote
from forebay.fiftyone.storage.paths import folder, is_bucket
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE, last_part, remote_objects, uploading
from forebay.uri import redact


@hooks.around(STORAGE_MODULE, "ensure_dir", "ensure_basedir")
def ensure_dir(original: Wrapper, dirpath: Any = None, **kwargs: Any) -> Any:
    """Does nothing for URIs: object stores need no folders."""
    path = dirpath if dirpath is not None else kwargs.get("path")
    if is_remote(path):
        return None
    return original(**kwargs) if dirpath is None else original(dirpath)


@hooks.around(STORAGE_MODULE, "ensure_empty_dir")
def ensure_empty_dir(original: Wrapper, dirpath: Any, cleanup: bool = False) -> Any:
    if not is_remote(dirpath):
        return original(dirpath, cleanup=cleanup)
    if fos.isdir(dirpath):
        if not cleanup:
            raise ValueError(f"{redact(dirpath)} not empty")
        fos.delete_dir(dirpath)
    return None


@hooks.around(STORAGE_MODULE, "delete_dir")
def delete_dir(original: Wrapper, dirpath: Any) -> Any:
    """Deletes everything in a remote folder, but never a whole bucket.

    Raises:
        ValueError: the path names a bucket.
    """
    if not is_remote(dirpath):
        return original(dirpath)
    if is_bucket(dirpath):
        raise ValueError(
            f"{redact(dirpath)} is a whole bucket, which is not deleted; name a folder in it, "
            "or pass what fos.list_files() finds in it to fos.delete_files()"
        )
    found = [info.uri for info in remote_objects().list_objects(folder(dirpath))]
    fos.run(
        lambda uri: remote_objects().delete(uri, missing_ok=True), found, return_results=False, progress=False
    )
    return None


@hooks.around(STORAGE_MODULE, "copy_dir")
def copy_dir(
    original: Wrapper, indir: Any, outdir: Any, overwrite: bool = True, *args: Any, **kwargs: Any
) -> Any:
    if not is_remote(indir) and not is_remote(outdir):
        return original(indir, outdir, overwrite, *args, **kwargs)
    inpaths, outpaths = _pairs(indir, outdir, overwrite)
    fos.copy_files(inpaths, outpaths, *args, **kwargs)
    return None


@hooks.around(STORAGE_MODULE, "move_dir")
def move_dir(
    original: Wrapper, indir: Any, outdir: Any, overwrite: bool = True, *args: Any, **kwargs: Any
) -> Any:
    if not is_remote(indir) and not is_remote(outdir):
        return original(indir, outdir, overwrite, *args, **kwargs)
    inpaths, outpaths = _pairs(indir, outdir, overwrite)
    fos.move_files(inpaths, outpaths, *args, **kwargs)
    if is_remote(indir):
        _delete_markers(indir)
    else:
        _remove_empty(indir)
    return None


@hooks.around(STORAGE_MODULE, "make_archive")
def make_archive(original: Wrapper, dirpath: Any, archive_path: Any, cleanup: bool = False) -> Any:
    if is_remote(dirpath):
        with tempfile.TemporaryDirectory(prefix="forebay-") as directory:
            local = os.path.join(directory, last_part(dirpath) or fos.get_bucket_name(dirpath))
            fos.ensure_dir(local)
            fos.copy_dir(dirpath, local, overwrite=False, progress=False)
            make_archive(original, local, archive_path)
        if cleanup:
            fos.delete_dir(dirpath)
    elif is_remote(archive_path):
        with uploading(archive_path) as local:
            original(dirpath, local)
        if cleanup:
            fos.delete_dir(dirpath)
    else:
        original(dirpath, archive_path, cleanup=cleanup)


@hooks.around(STORAGE_MODULE, "extract_archive")
def extract_archive(original: Wrapper, archive_path: Any, outdir: Any = None, cleanup: bool = False) -> Any:
    if not is_remote(archive_path) and not is_remote(outdir):
        return original(archive_path, outdir=outdir, cleanup=cleanup)
    target = archive_path.rpartition("/")[0] if outdir is None else outdir
    local = local_media.local_path(archive_path)
    if is_remote(target):
        with tempfile.TemporaryDirectory(prefix="forebay-") as directory:
            original(local, outdir=directory)
            fos.copy_dir(directory, target, overwrite=False, progress=False)
    else:
        original(local, outdir=target)
    if cleanup:
        fos.delete_file(archive_path)
    return None


def _pairs(indir: str, outdir: str, overwrite: bool) -> tuple[list[str], list[str]]:
    """The files of a folder and their targets; with ``overwrite``, deletes the target folder first.

    Raises:
        ValueError: one folder lies in the other, so that deleting it would delete the files themselves.
    """
    start, end = folder(_absolute(indir)), folder(_absolute(outdir))
    if start.startswith(end) or end.startswith(start):
        raise ValueError(
            f"{redact(indir)} and {redact(outdir)} lie within each other; choose separate folders"
        )
    files = _all_files(indir)
    # If ``indir`` is mistyped, there are no files; then ``outdir`` must not be deleted.
    if overwrite and files and fos.isdir(outdir):
        fos.delete_dir(outdir)
    return [_inside(indir, name) for name in files], [_inside(outdir, name) for name in files]


def _all_files(directory: str) -> list[str]:
    if is_remote(directory):
        found: list[str] = fos.list_files(directory, include_hidden_files=True, recursive=True, sort=False)
        return found
    # FiftyOne's recursive listing leaves out hidden files.
    return [
        os.path.relpath(os.path.join(parent, name), directory)
        for parent, _, names in os.walk(directory)
        for name in names
    ]


def _inside(directory: str, name: str) -> str:
    """The path of a file in a folder; unlike `fos.join`, ``..`` in a key is a part of its name."""
    if is_remote(directory):
        return folder(directory) + name
    path = os.path.join(directory, name)
    if not os.path.abspath(path).startswith(os.path.join(os.path.abspath(directory), "")):
        raise ValueError(f"{name!r} would be written outside {directory}; copy it by itself")
    return path


def _absolute(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path)


def _delete_markers(dirpath: str) -> None:
    """Deletes the empty objects that consoles create for folders."""
    for info in remote_objects().list_objects(folder(dirpath)):
        if info.uri.endswith("/"):
            remote_objects().delete(info.uri, missing_ok=True)


def _remove_empty(directory: str) -> None:
    for parent, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(parent)
        except OSError:
            # Something in it could not be moved.
            return
