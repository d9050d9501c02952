"""Access to remote objects with the settings of this process, and uploads of local files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forebay.fiftyone import local_media
from forebay.remote import Remote
from forebay.uri import is_local, parse

STORAGE_MODULE = "fiftyone.core.storage"


def remote_objects() -> Remote:
    """Access to the sources of this process's media cache."""
    return Remote(local_media.media_cache())


def as_str(path: Any) -> Any:
    """A path-like object as a string; anything else unchanged."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def last_part(path: str) -> str:
    """The last part of a path; without a URL's query string."""
    return os.path.basename(path if is_local(path) else parse(path).key.rstrip("/"))


@contextmanager
def uploading(uri: str) -> Iterator[str]:
    """Yields a local path with the URI's name; the file written there is uploaded when the block ends.

    Nothing is uploaded if the block raises.
    """
    with tempfile.TemporaryDirectory(prefix="forebay-") as directory:
        path = os.path.join(directory, last_part(uri))
        yield path
        upload(path, uri)


def upload(path: str, uri: str, *, keep: bool = False) -> None:
    """Uploads a local file.

    Args:
        keep: whether to put the file into the media cache, too.

    Raises:
        ForebayError: as `Remote.put`.
    """
    with open(path, "rb") as file:
        remote_objects().put(uri, file, keep=keep)
