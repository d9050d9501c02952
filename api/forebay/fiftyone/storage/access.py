"""Remote objects by the settings of this process, and files that are on their way to become one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forebay.fiftyone import media
from forebay.remote import Remote
from forebay.uri import is_local, parse

MODULE = "fiftyone.core.storage"


def remote() -> Remote:
    """The remote objects that the media cache of this process may fetch."""
    return Remote(media.media_cache())


def text(path: Any) -> Any:
    """A path as FiftyOne's functions take it."""
    return os.fspath(path) if isinstance(path, os.PathLike) else path


def file_name(path: str) -> str:
    """The last part of a path; without a URL's query string."""
    return os.path.basename(path if is_local(path) else parse(path).key.rstrip("/"))


@contextmanager
def uploading(uri: str) -> Iterator[str]:
    """A local path to write to, of the URI's name; what lies there becomes the object.

    Nothing is uploaded when the block raises.
    """
    with tempfile.TemporaryDirectory(prefix="forebay-") as directory:
        path = os.path.join(directory, file_name(uri))
        yield path
        upload(path, uri)


def upload(path: str, uri: str, *, keep: bool = False) -> None:
    """Uploads a local file.

    Args:
        keep: put it into the media cache, too.

    Raises:
        ForebayError: as `Remote.put`.
    """
    with open(path, "rb") as file:
        remote().put(uri, file, keep=keep)
