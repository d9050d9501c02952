"""``os.path`` for the modules of FiftyOne that use it on filepaths which may be URIs."""

from __future__ import annotations

import os
import posixpath
from typing import Any

from forebay.fiftyone import hooks
from forebay.fiftyone.deferred import fos
from forebay.fiftyone.media_uris import is_remote, is_url
from forebay.uri import parse

# These modules treat the filepath of a sample, or of an imported file, as a local path.
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

# Escaped as in the names of cache entries; joined to a directory, these would lead out of it.
_UNSAFE_PARTS = {"": "%-", ".": "%2e", "..": "%2e%2e"}


def isabs(path: Any) -> bool:
    """Whether a path is absolute, as every URI is."""
    return is_remote(path) or os.path.isabs(path)


def abspath(path: Any) -> Any:
    """The absolute path; ``.`` and ``..`` in a URI are resolved, within its bucket or host."""
    if not is_remote(path):
        return os.path.abspath(path)
    scheme, _, rest = path.partition("://")
    rest, mark, query = rest.partition("?") if is_url(path) else (rest, "", "")
    bucket, slash, key = rest.partition("/")
    parts = key.split("/")
    if "." not in parts and ".." not in parts:
        return path
    key = posixpath.normpath(f"/{key}").lstrip("/") + ("/" if key.endswith("/") else "")
    return f"{scheme}://{bucket}{slash}{key}{mark}{query}"


def join(first: Any, *others: Any) -> Any:
    """Joins paths; a URI discards the parts before it, as an absolute path does."""
    for number in range(len(others), 0, -1):
        if is_remote(others[number - 1]):
            return join(others[number - 1], *others[number:])
    if not is_remote(first):
        return os.path.join(first, *others)
    return posixpath.join(first, *others)


def relpath(path: Any, start: Any = None) -> Any:
    """A path relative to another; a URI that is not below ``start`` stays as it is.

    The result stays below any directory that it is joined to: parts such as ``..`` are escaped.
    """
    if not is_remote(path):
        return os.path.relpath(path, start)
    below = f"{str(start).rstrip('/')}/"
    if not is_remote(start) or not path.startswith(below):
        return path
    return "/".join(_UNSAFE_PARTS.get(part, part) for part in path[len(below) :].split("/"))


def without_query(path: Any) -> Any:
    """A path that ends in a file name; for a URL with a query string, that of its cached copy."""
    if not is_remote(path):
        return path
    uri = parse(path)
    return f"{uri.scheme}://{uri.entry.partition('/')[2]}" if uri.query else path


def safe_name(path: str) -> str:
    """The last part of a URI, escaped where it would lead out of a directory."""
    name = path.rpartition("/")[2]
    return _UNSAFE_PARTS.get(name, name)


class _UriAwarePath:
    """`os.path` for local paths and URIs."""

    isabs = staticmethod(isabs)
    abspath = staticmethod(abspath)
    join = staticmethod(join)
    relpath = staticmethod(relpath)

    def realpath(self, path: Any) -> Any:
        return abspath(path) if is_remote(path) else os.path.realpath(path)

    def exists(self, path: Any) -> bool:
        return bool(fos.exists(path)) if is_remote(path) else os.path.exists(path)

    def isfile(self, path: Any) -> bool:
        return bool(fos.isfile(path)) if is_remote(path) else os.path.isfile(path)

    def isdir(self, path: Any) -> bool:
        return bool(fos.isdir(path)) if is_remote(path) else os.path.isdir(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)


class _UriAwareOs:
    """`os` with that `os.path`."""

    path = _UriAwarePath()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


for _module in _MODULES:

    @hooks.replace(_module, "os")
    def use_uri_paths(original: Any) -> Any:
        return _UriAwareOs()
