"""What kind of file a URI names, by its extension."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from forebay.errors import UriError
from forebay.fiftyone import hooks
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.media import is_remote
from forebay.uri import parse


def file_name(path: str) -> str:
    """The name of the file that a path or URI leads to: without directories, and without a query string."""
    if not is_remote(path):
        return path.rpartition("/")[2]
    try:
        uri = parse(path)
    except UriError:
        return path.rpartition("/")[2]
    name = uri.key.rpartition("/")[2]
    return unquote(name) if uri.is_url else name


@hooks.around("eta.core.utils", "guess_mime_type")
def guess_mime_type(original: Wrapper, filepath: Any) -> Any:
    return original(f"/{file_name(filepath)}" if is_remote(filepath) else filepath)


@hooks.around("fiftyone.core.media", "get_media_type")
def get_media_type(original: Wrapper, filepath: Any) -> Any:
    return original(f"/{file_name(filepath)}" if is_remote(filepath) else filepath)
