"""What makes ``forebay::s3://bucket/key`` work where fsspec's own file system for ``s3`` is not installed.

fsspec loads the class of the last protocol of a chain, only to have it take the protocol off the path. The
packages that have these classes are large, and s3fs and boto3 need different versions of botocore. So entry
points name attributes of this module. Each is the class that fsspec would have without Forebay; only where
its package is missing, it is one that takes the protocol off, and raises what fsspec would when it is used.
"""

from __future__ import annotations

import functools
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NoReturn

from fsspec import AbstractFileSystem

from forebay.fsspec.tree import Tree, known_scheme
from forebay.uri.redaction import URLS

# The package and the class of fsspec's own for each.
_OWN = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "S3FileSystem")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "GCSFileSystem")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("adlfs", "AzureBlobFileSystem")),
    **dict.fromkeys(("http", "https"), ("fsspec.implementations.http", "HTTPFileSystem")),
    "minio": ("", ""),
}
_INSTALLED_AS = {"fsspec.implementations.http": "aiohttp"}


def __getattr__(name: str) -> Any:
    if name not in _OWN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _class_of(name)


@functools.cache
def _class_of(scheme: str) -> type[AbstractFileSystem]:
    for entry in entry_points(group="fsspec.specs", name=scheme):
        if entry.module != __name__:
            return entry.load()  # type: ignore[no-any-return]
    module, name = _OWN[scheme]
    cause: ImportError | None = None
    if module:
        try:
            return getattr(import_module(module), name)  # type: ignore[no-any-return]
        except ImportError as error:
            module = _INSTALLED_AS.get(module, module)
            # Without its frames, which would keep what they hold for as long as the class lives.
            cause = error.with_traceback(None)

    def refuse(*arguments: object, **options: object) -> NoReturn:
        needed = f"needs the package {module}" if module else "is no protocol of fsspec's own"
        # The package may be there, and lack one of its own: the cause says which.
        raise ImportError(
            f"{scheme}:// {needed}; forebay::{scheme}:// is read through Forebay's cache"
        ) from cause

    tree = Tree(known_scheme(scheme))
    strip = staticmethod(str if scheme in URLS else tree.path)
    members = {"protocol": scheme, "cachable": False, "__init__": refuse, "_strip_protocol": strip}
    return type(f"Chained_{scheme}", (AbstractFileSystem,), members)
