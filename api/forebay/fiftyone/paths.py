"""What FiftyOne's storage functions say of a path without looking at what lies there."""

from __future__ import annotations

import enum
import os
import posixpath
from collections.abc import Iterable
from typing import Any

from forebay.fiftyone import hooks, uripaths
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote
from forebay.uri import parse

_FOS = "fiftyone.core.storage"


class FileSystem(enum.Enum):
    """Enumeration of the available file systems."""

    GCS = "gcs"
    HTTP = "http"
    LOCAL = "local"
    MINIO = "minio"
    S3 = "s3"


SCHEMES = {FileSystem.S3: "s3", FileSystem.GCS: "gs", FileSystem.MINIO: "minio"}
"""The schemes of the file systems that have buckets."""

_BY_SCHEME = {scheme: system for system, scheme in SCHEMES.items()} | dict.fromkeys(
    ("http", "https"), FileSystem.HTTP
)


@hooks.replace(_FOS, "FileSystem")
def more_file_systems(original: Any) -> Any:
    # What is pickled must be found where FiftyOne has it.
    FileSystem.__module__ = _FOS
    return FileSystem


@hooks.around(_FOS, "get_file_system")
def get_file_system(original: Wrapper, path: Any) -> Any:
    return _BY_SCHEME[_scheme(path)] if is_remote(path) else original(path)


@hooks.around(_FOS, "split_prefix")
def split_prefix(original: Wrapper, path: Any) -> Any:
    if not is_remote(path):
        return original(path)
    scheme, _, rest = path.partition("://")
    return f"{scheme}://", rest


@hooks.around(_FOS, "get_bucket_name")
def get_bucket_name(original: Wrapper, path: Any) -> Any:
    """The bucket; ``""`` for URLs, which have none."""
    if not is_remote(path):
        return original(path)
    return "" if _scheme(path) in ("http", "https") else path.partition("://")[2].partition("/")[0]


@hooks.around(_FOS, "normalize_path", "realpath")
def unchanged(original: Wrapper, path: Any) -> Any:
    """A URI is absolute; ``..`` in the key of an object is a part of its name like any other."""
    return path if is_remote(path) else original(path)


@hooks.around(_FOS, "abspath")
def abspath(original: Wrapper, path: Any) -> Any:
    return uripaths.abspath(path) if is_remote(path) else original(path)


@hooks.around(_FOS, "isabs")
def isabs(original: Wrapper, path: Any) -> bool:
    return is_remote(path) or original(path)


@hooks.around(_FOS, "sep")
def sep(original: Wrapper, path: Any) -> Any:
    return "/" if is_remote(path) else original(path)


@hooks.around(_FOS, "normpath")
def normpath(original: Wrapper, path: Any) -> Any:
    """A URI without empty, ``.`` and ``..`` segments; nothing leads above its bucket or host."""
    if not is_remote(path):
        return original(path)
    root, key = _split(path)
    key, mark, query = key.partition("?") if _scheme(path) in ("http", "https") else (key, "", "")
    return f"{root}{posixpath.normpath(f'/{key}').lstrip('/')}{mark}{query}".rstrip("/")


@hooks.around(_FOS, "join")
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


@hooks.around(_FOS, "commonpath")
def commonpath(original: Wrapper, paths: Iterable[Any]) -> Any:
    """The longest common folder; ``""`` for paths in different buckets, hosts or file systems."""
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
    """What the URIs of everything in a remote folder begin with."""
    return uri.rstrip("/") + "/"


def is_bucket(uri: str) -> bool:
    """Whether a URI names a bucket or host, and nothing in it."""
    return not _split(folder(uri))[1].strip("/")


def same(first: str, second: str) -> bool:
    """Whether two URIs name one object."""
    return parse(first).entry == parse(second).entry


def _below(uri: str, part: str) -> str:
    """A URI with one more part, which alone is searched for ``.`` and ``..``."""
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
    """A URI's bucket or host, with the slash after it, and the rest."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    return f"{scheme}://{bucket}/", key


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower()
