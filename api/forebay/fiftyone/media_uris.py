"""Facts about a path or URI that its text alone tells."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from typing_extensions import TypeIs

from forebay.errors import UriError
from forebay.uri import REMOTE_SCHEMES, parse
from forebay.uri.aliases import canonical
from forebay.uri.redaction import SCHEME


def is_remote(path: Any) -> TypeIs[str]:
    """Whether ``path`` is a URI that Forebay can fetch; FiftyOne handles every other path itself."""
    match = SCHEME.match(path) if isinstance(path, str) else None
    return match is not None and canonical(match[1].lower()) in REMOTE_SCHEMES


def is_url(path: str) -> bool:
    """Whether a remote path is the URL of a web server, rather than the URI of an object in a bucket."""
    return path.partition("://")[0].lower() in ("http", "https")


def file_name(path: str) -> str:
    """The file name in a path or URI: without directories, and without a query string."""
    if not is_remote(path):
        return path.rpartition("/")[2]
    try:
        uri = parse(path)
    except UriError:
        return path.rpartition("/")[2]
    name = uri.key.rpartition("/")[2]
    return unquote(name) if uri.is_url else name


def extension(path: str) -> str:
    """The extension of a path or URI in lower case, with its dot."""
    return posixpath.splitext(file_name(path))[1].lower()


def is_scene(path: str) -> bool:
    """Whether a path or URI is that of a 3D scene, by its extension."""
    return extension(path) == ".fo3d"
