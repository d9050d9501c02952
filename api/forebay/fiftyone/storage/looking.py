"""What is there: in a remote folder, at a URI, in the reach of the credentials."""

from __future__ import annotations

import os
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from forebay.errors import ForebayError, ObjectNotFoundError
from forebay.fiftyone import hooks, media
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.log import log
from forebay.fiftyone.media import is_remote
from forebay.fiftyone.paths import SCHEMES, FileSystem, folder, is_bucket
from forebay.fiftyone.storage.access import MODULE, remote

if TYPE_CHECKING:
    from forebay.sources.base import ObjectInfo

_SPECIAL = "*?["


@hooks.around(MODULE, "exists")
def exists(original: Wrapper, path: Any) -> Any:
    return isfile(original, path) or isdir(original, path) if is_remote(path) else original(path)


@hooks.around(MODULE, "isfile")
def isfile(original: Wrapper, path: Any) -> Any:
    if not is_remote(path):
        return original(path)
    return not is_bucket(path) and not path.endswith("/") and remote().exists(path)


@hooks.around(MODULE, "isdir")
def isdir(original: Wrapper, dirpath: Any) -> Any:
    """A folder exists when something lies below it; web servers have none that could be known."""
    if not is_remote(dirpath):
        return original(dirpath)
    if _is_url(dirpath):
        return False
    try:
        return remote().holds(folder(dirpath))
    except ObjectNotFoundError:
        return False


@hooks.around(MODULE, "get_file_size")
def get_file_size(original: Wrapper, path_or_file: Any) -> Any:
    if not is_remote(path_or_file):
        return original(path_or_file)
    size = remote().head(path_or_file).size
    # A web server need not tell.
    return original(media.local(path_or_file)) if size is None else size


@hooks.around(MODULE, "list_files")
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
        for info in below(dirpath, recursive=recursive)
        if include_hidden_files or not os.path.basename(info.uri).startswith(".")
    ]
    if sort:
        found.sort(key=lambda info: info.uri)
    paths = [info.uri if abs_paths else info.uri[len(start) :] for info in found]
    if not return_metadata:
        return paths
    return [_metadata(info, path) for info, path in zip(found, paths, strict=True)]


@hooks.around(MODULE, "list_subdirs")
def list_subdirs(original: Wrapper, dirpath: Any, abs_paths: bool = False, recursive: bool = False) -> Any:
    if not is_remote(dirpath):
        return original(dirpath, abs_paths=abs_paths, recursive=recursive)
    start = folder(dirpath)
    names: set[str] = set()
    for info in remote().list_objects(start, recursive=recursive):
        parts = info.uri[len(start) :].split("/")[:-1]
        names.update("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    shown = sorted(name for name in names if not os.path.basename(name).startswith("."))
    return [start + name for name in shown] if abs_paths else shown


@hooks.around(MODULE, "list_buckets")
def list_buckets(original: Wrapper, fs: Any, abs_paths: bool = False) -> Any:
    """The buckets that the credentials may list; web servers have none."""
    scheme = SCHEMES.get(fs)
    if scheme is None:
        return [] if fs is FileSystem.HTTP else original(fs, abs_paths=abs_paths)
    names = sorted(remote().containers(scheme))
    return [f"{scheme}://{name}" for name in names] if abs_paths else names


@hooks.around(MODULE, "list_available_file_systems")
def list_available_file_systems(original: Wrapper) -> Any:
    """Those whose buckets can be listed with the credentials at hand."""
    available = list(original())
    for system, scheme in SCHEMES.items():
        try:
            remote().containers(scheme)
        except ForebayError as error:
            log.debug("%s is not available: %s", scheme, error)
        else:
            available.append(system)
    return available


@hooks.around(MODULE, "get_glob_matches")
def get_glob_matches(original: Wrapper, glob_patt: Any) -> Any:
    """The files whose names match, as in a shell: ``*`` matches no slash, and no dot that leads a name."""
    if not is_remote(glob_patt):
        return original(glob_patt)
    special = [index for index, character in enumerate(glob_patt) if character in _SPECIAL]
    if not special:
        return [glob_patt] if remote().exists(glob_patt) else []
    root = glob_patt[: glob_patt.rindex("/", 0, special[0])]
    recursive = "/" in glob_patt[special[0] :]
    return sorted(info.uri for info in below(root, recursive=recursive) if _matches(info.uri, glob_patt))


def below(dirpath: str, *, recursive: bool = True) -> list[ObjectInfo]:
    """The files in a remote folder; none where it does not exist.

    Raises:
        ObjectNotFoundError: there is not even its bucket.
    """
    found = remote().list_objects(folder(dirpath), recursive=recursive)
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


def _is_url(path: str) -> bool:
    return path[:4].lower() == "http"
