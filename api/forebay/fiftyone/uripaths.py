"""``os.path`` for the modules of FiftyOne that use it on filepaths which may be URIs."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.media import is_remote
from forebay.uri import parse

# These take a filepath of a sample, or of an imported file, for a path on this machine.
_MODULES = (
    "eta.core.serial",
    "fiftyone.core.dataset",
    "fiftyone.utils.bdd",
    "fiftyone.utils.coco",
    "fiftyone.utils.csv",
    "fiftyone.utils.cvat",
    "fiftyone.utils.data.exporters",
    "fiftyone.utils.data.importers",
    "fiftyone.utils.geojson",
    "fiftyone.utils.kitti",
    "fiftyone.utils.openlabel",
    "fiftyone.utils.voc",
    "fiftyone.utils.yolo",
)

# As in the names of cache entries. Joined to a directory, a path with these would lead out of it.
_NOT_NAMES = {"": "%-", ".": "%2e", "..": "%2e%2e"}


def isabs(path: Any) -> bool:
    """Whether a path is absolute, as every URI is."""
    return is_remote(path) or os.path.isabs(path)


def abspath(path: Any) -> Any:
    """A path made absolute; ``.`` and ``..`` in a URI are resolved, within its bucket or host."""
    if not is_remote(path):
        return os.path.abspath(path)
    scheme, _, rest = path.partition("://")
    rest, mark, query = rest.partition("?") if scheme.lower() in ("http", "https") else (rest, "", "")
    bucket, slash, key = rest.partition("/")
    parts = key.split("/")
    if "." not in parts and ".." not in parts:
        return path
    key = posixpath.normpath(f"/{key}").lstrip("/") + ("/" if key.endswith("/") else "")
    return f"{scheme}://{bucket}{slash}{key}{mark}{query}"


def join(first: Any, *others: Any) -> Any:
    """Paths joined; a URI among them stands for itself, as an absolute path does."""
    for number in range(len(others), 0, -1):
        if is_remote(others[number - 1]):
            return join(others[number - 1], *others[number:])
    if not is_remote(first):
        return os.path.join(first, *others)
    return posixpath.join(first, *others)


def relpath(path: Any, start: Any = None) -> Any:
    """A path relative to another; a URI that is not below ``start`` stays as it is.

    What is below it leads to below any other directory, too: parts such as ``..`` are escaped.
    """
    if not is_remote(path):
        return os.path.relpath(path, start)
    below = f"{str(start).rstrip('/')}/"
    if not is_remote(start) or not path.startswith(below):
        return path
    return "/".join(_NOT_NAMES.get(part, part) for part in path[len(below) :].split("/"))


def plain(path: Any) -> Any:
    """A path whose last part is a file name: that of a URL with a query string is the cache's for it."""
    if not is_remote(path):
        return path
    uri = parse(path)
    return f"{uri.scheme}://{uri.entry.partition('/')[2]}" if uri.query else path


def name_of(path: str) -> str:
    """The last part of a URI, as a file name."""
    name = path.rpartition("/")[2]
    return _NOT_NAMES.get(name, name)


class _Path:
    """`os.path`, to which URIs are absolute paths of files elsewhere."""

    isabs = staticmethod(isabs)
    abspath = staticmethod(abspath)
    join = staticmethod(join)
    relpath = staticmethod(relpath)

    def realpath(self, path: Any) -> Any:
        return abspath(path) if is_remote(path) else os.path.realpath(path)

    def exists(self, path: Any) -> bool:
        import fiftyone.core.storage as fos

        return bool(fos.exists(path)) if is_remote(path) else os.path.exists(path)

    def isfile(self, path: Any) -> bool:
        import fiftyone.core.storage as fos

        return bool(fos.isfile(path)) if is_remote(path) else os.path.isfile(path)

    def isdir(self, path: Any) -> bool:
        import fiftyone.core.storage as fos

        return bool(fos.isdir(path)) if is_remote(path) else os.path.isdir(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)


class _Os:
    path = _Path()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


for _module in _MODULES:

    @hooks.replace(_module, "os")
    def use_uri_paths(original: Any) -> Any:
        return _Os()
