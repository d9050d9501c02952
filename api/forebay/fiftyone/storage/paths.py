"""The storage functions that look at the text of a path only, not at what lies there."""

from __future__ import annotations

import enum
import os
import posixpath
from collections.abc import Iterable
from typing import Any

from forebay.fiftyone import hooks, uripaths
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media_uris import is_remote, is_url
from forebay.fiftyone.storage.remote_objects import STORAGE_MODULE
from forebay.uri import parse
from forebay.uri.aliases import canonical


class FileSystem(enum.Enum):
    """Enumeration of the available file systems."""

    AZURE = "azure"
    GCS = "gcs"
    HTTP = "http"
    LOCAL = "local"
    MINIO = "minio"
    S3 = "s3"


SCHEMES = {FileSystem.S3: "s3", FileSystem.GCS: "gs", FileSystem.MINIO: "minio", FileSystem.AZURE: "az"}
"""The schemes of the file systems that have buckets."""

_BY_SCHEME = {scheme: system for system, scheme in SCHEMES.items()} | dict.fromkeys(
    ("http", "https"), FileSystem.HTTP
)


@hooks.replace(STORAGE_MODULE, "FileSystem")
def more_file_systems(original: Any) -> Any:
    # So that pickled values are found where FiftyOne has the class.
    FileSystem.__module__ = STORAGE_MODULE
    return FileSystem


@hooks.around(STORAGE_MODULE, "get_file_system")
def get_file_system(original: Wrapper, path: Any) -> Any:
    return _BY_SCHEME[_scheme(path)] if is_remote(path) else original(path)


@hooks.around(STORAGE_MODULE, "split_prefix")
def split_prefix(original: Wrapper, path: Any) -> Any:
    if not is_remote(path):
        return original(path)
    scheme, _, rest = path.partition("://")
    return f"{scheme}://", rest


@hooks.around(STORAGE_MODULE, "get_bucket_name")
def get_bucket_name(original: Wrapper, path: Any) -> Any:
    """The bucket; ``""`` for URLs, which have none."""
    if not is_remote(path):
        return original(path)
    bucket = "" if is_url(path) else path.partition("://")[2].partition("/")[0]
    # abfss://container@account.dfs.core.windows.net/blob
    return bucket.partition("@")[0] if _scheme(path) == "az" else bucket


@hooks.around(STORAGE_MODULE, "normalize_path", "realpath")
def unchanged(original: Wrapper, path: Any) -> Any:
    """A URI is absolute; ``..`` in the key of an object is a part of its name like any other."""
    return path if is_remote(path) else original(path)


@hooks.around(STORAGE_MODULE, "abspath")
def abspath(original: Wrapper, path: Any) -> Any:
    return uripaths.abspath(path) if is_remote(path) else original(path)


@hooks.around(STORAGE_MODULE, "isabs")
def isabs(original: Wrapper, path: Any) -> bool:
    return is_remote(path) or original(path)


@hooks.around(STORAGE_MODULE, "sep")
def sep(original: Wrapper, path: Any) -> Any:
    return "/" if is_remote(path) else original(path)


@hooks.around(STORAGE_MODULE, "normpath")
def normpath(original: Wrapper, path: Any) -> Any:
    """A URI without empty, ``.`` and ``..`` segments; nothing leads above its bucket or host."""
    if not is_remote(path):
        return original(path)
    root, key = _split(path)
    key, mark, query = key.partition("?") if is_url(path) else (key, "", "")
    return f"{root}{posixpath.normpath(f'/{key}').lstrip('/')}{mark}{query}".rstrip("/")


@hooks.around(STORAGE_MODULE, "join")
def join(original: Wrapper, a: Any, *p: Any) -> Any:
    """Joins as `os.path.join` does; what is joined to a URI cannot lead out of its bucket or host."""
    for number in range(len(p), 0, -1):
        if is_remote(p[number - 1]):
            return join(original, p[number - 1], *p[number:])
    if not is_remote(a) or any(os.path.isabs(part) for part in p):
        return original(a, *p)
    joined = a
    for part in p:
        joined = _below(joined, part)
    return joined


@hooks.around(STORAGE_MODULE, "commonpath")
def commonpath(original: Wrapper, paths: Iterable[Any]) -> Any:
    """The deepest common folder; ``""`` for paths in different buckets, hosts or file systems."""
    paths = list(paths)
    if not any(is_remote(path) for path in paths):
        return original(paths)
    if not all(is_remote(path) for path in paths):
        return ""
    roots, keys = zip(*(_split(path) for path in paths), strict=True)
    if len(set(roots)) > 1:
        return ""
    return (roots[0] + posixpath.commonpath([f"/{key}" for key in keys])[1:]).rstrip("/")


def folder(uri: str) -> str:
    """The URI of a remote folder, with one slash at its end."""
    return uri.rstrip("/") + "/"


def is_bucket(uri: str) -> bool:
    """Whether a URI names a bucket or host, and nothing in it."""
    return not _split(folder(uri))[1].strip("/")


def same_object(first: str, second: str) -> bool:
    """Whether two URIs name one object."""
    return parse(first).entry == parse(second).entry


def _below(uri: str, part: str) -> str:
    """Appends a part to a URI; ``.`` and ``..`` are resolved in the part only."""
    root, key = _split(uri)
    names = key.rstrip("/").split("/") if key.strip("/") else []
    steps = part.split("/")
    for step in steps:
        if step == "..":
            del names[-1:]
        elif step not in ("", "."):
            names.append(step)
    end = "/" if names and steps[-1] in ("", ".", "..") else ""
    return root + "/".join(names) + end


def _split(uri: str) -> tuple[str, str]:
    """Splits a URI after the slash that ends its bucket or host."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}/", key


def _scheme(uri: str) -> str:
    return canonical(uri.partition("://")[0].lower())
