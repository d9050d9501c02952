"""Looking up remote files: whether they exist, their sizes, and listings of folders and buckets."""

from __future__ import annotations

import os
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from forebay.errors import ForebayError, ObjectNotFoundError
from forebay.fiftyone import hooks, local_media
from forebay.fiftyone.adapter_log import log
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote, is_url
from forebay.fiftyone.storage.paths import SCHEMES, FileSystem, folder, is_bucket
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE, remote_objects
from forebay.sources.base import ObjectInfo

_GLOB_CHARACTERS = "*?["


@hooks.around(STORAGE_MODULE, "exists")
def exists(original: Wrapper, path: Any) -> Any:
    return isfile(original, path) or isdir(original, path) if is_remote(path) else original(path)


@hooks.around(STORAGE_MODULE, "isfile")
def isfile(original: Wrapper, path: Any) -> Any:
    if not is_remote(path):
        return original(path)
    return not is_bucket(path) and not path.endswith("/") and remote_objects().exists(path)


@hooks.around(STORAGE_MODULE, "isdir")
def isdir(original: Wrapper, dirpath: Any) -> Any:
    """A folder exists if an object lies below it; on web servers, none can be seen."""
    if not is_remote(dirpath):
        return original(dirpath)
    if is_url(dirpath):
        return False
    try:
        return remote_objects().holds(folder(dirpath))
    except ObjectNotFoundError:
        return False


@hooks.around(STORAGE_MODULE, "get_file_size")
def get_file_size(original: Wrapper, path_or_file: Any) -> Any:
    if not is_remote(path_or_file):
        return original(path_or_file)
    size = remote_objects().head(path_or_file).size
    # A web server need not tell the size.
    return original(local_media.local_path(path_or_file)) if size is None else size


@hooks.around(STORAGE_MODULE, "list_files")
def list_files(
    original: Wrapper,
    dirpath: Any,
    abs_paths: bool = False,
    recursive: bool = False,
    include_hidden_files: bool = False,
    return_metadata: bool = False,
    sort: bool = True,
) -> Any:
    if not is_remote(dirpath):
        return original(
            dirpath,
            abs_paths=abs_paths,
            recursive=recursive,
            include_hidden_files=include_hidden_files,
            return_metadata=return_metadata,
            sort=sort,
        )
    start = folder(dirpath)
    found = [
        info
        for info in files_below(dirpath, recursive=recursive)
        if include_hidden_files or not os.path.basename(info.uri).startswith(".")
    ]
    if sort:
        found.sort(key=lambda info: info.uri)
    paths = [info.uri if abs_paths else info.uri[len(start) :] for info in found]
    if not return_metadata:
        return paths
    return [_metadata(info, path) for info, path in zip(found, paths, strict=True)]


@hooks.around(STORAGE_MODULE, "list_subdirs")
def list_subdirs(original: Wrapper, dirpath: Any, abs_paths: bool = False, recursive: bool = False) -> Any:
    if not is_remote(dirpath):
        return original(dirpath, abs_paths=abs_paths, recursive=recursive)
    start = folder(dirpath)
    names: set[str] = set()
    for info in remote_objects().list_objects(start, recursive=recursive):
        parts = info.uri[len(start) :].split("/")[:-1]
        names.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    shown = sorted(name for name in names if not os.path.basename(name).startswith("."))
    return [start + name for name in shown] if abs_paths else shown


@hooks.around(STORAGE_MODULE, "list_buckets")
def list_buckets(original: Wrapper, fs: Any, abs_paths: bool = False) -> Any:
    """The buckets that the credentials may list; web servers have none."""
    scheme = SCHEMES.get(fs)
    if scheme is None:
        return [] if fs is FileSystem.HTTP else original(fs, abs_paths=abs_paths)
    names = sorted(remote_objects().containers(scheme))
    return [f"{scheme}://{name}" for name in names] if abs_paths else names


@hooks.around(STORAGE_MODULE, "list_available_file_systems")
def list_available_file_systems(original: Wrapper) -> Any:
    """The file systems whose buckets the credentials can list."""
    available = list(original())
    for system, scheme in SCHEMES.items():
        try:
            remote_objects().containers(scheme)
        except ForebayError as error:
            log.debug("%s is not available: %s", scheme, error)
        else:
            available.append(system)
    return available


@hooks.around(STORAGE_MODULE, "get_glob_matches")
def get_glob_matches(original: Wrapper, glob_patt: Any) -> Any:
    """The files that match a pattern, as in a shell: ``*`` matches no slash, and no leading dot of a name."""
    if not is_remote(glob_patt):
        return original(glob_patt)
    special = [index for index, character in enumerate(glob_patt) if character in _GLOB_CHARACTERS]
    if not special:
        return [glob_patt] if remote_objects().exists(glob_patt) else []
    root = glob_patt[: glob_patt.rindex("/", 0, special[0])]
    recursive = "/" in glob_patt[special[0] :]
    return sorted(
        info.uri for info in files_below(root, recursive=recursive) if _matches(info.uri, glob_patt)
    )


def files_below(dirpath: str, *, recursive: bool = True) -> list[ObjectInfo]:
    """The files in a remote folder; none if the folder does not exist.

    Raises:
        ObjectNotFoundError: its bucket does not exist.
    """
    found = remote_objects().list_objects(folder(dirpath), recursive=recursive)
    # Consoles write an empty object to show a folder.
    return [info for info in found if not info.uri.endswith("/")]


def _matches(uri: str, pattern: str) -> bool:
    names, globs = uri.split("/"), pattern.split("/")
    return len(names) == len(globs) and all(
        fnmatchcase(name, glob) and (not name.startswith(".") or glob.startswith("."))
        for name, glob in zip(names, globs, strict=True)
    )


def _metadata(info: ObjectInfo, path: str) -> dict[str, Any]:
    modified = None if info.modified is None else datetime.fromtimestamp(info.modified)
    return {
        "name": os.path.basename(info.uri),
        "size": info.size,
        "last_modified": modified,
        "filepath": path,
    }
