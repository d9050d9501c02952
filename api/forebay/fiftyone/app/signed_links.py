"""Signed links, which the App's server gives the browser in place of URIs, and accepts from it.

A link looks like the path of a local file, because that is what the App's front end sends to
``/media``::

    /.forebay/v1.<expiry>.<signature>.<URI in base64>/<file name>

The signature covers the URI and the expiry, but not the file name: for the assets of a 3D scene, the
browser replaces it by a name relative to the scene.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from forebay.fiftyone.media_uris import file_name

PREFIX = "/.forebay/"

_PERIOD_SECONDS = 86_400
_LINK = re.compile(r"/\.forebay/v1\.(\d{1,12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]+)/(.+)\Z", re.DOTALL)
# The front end decodes some links twice, and truncates them at other characters.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME_LENGTH = 100


class LinkError(Exception):
    """A link was not made by this server, or it has expired; the message says which."""


@dataclass(frozen=True)
class LinkTarget:
    """The object that a link names.

    Attributes:
        uri: the signed URI.
        asset: the name of a file beside it that is requested instead; ``""`` for none.
        expires: in seconds since the epoch.
    """

    uri: str
    asset: str
    expires: int


def make(key: bytes, uri: str, now: float) -> str:
    """Makes a link to the object at ``uri``, valid for one to two days.

    All links to one URI made on the same day are the same, so that browsers can cache what they lead to.

    Args:
        now: in seconds since the epoch.
    """
    expires = (int(now) // _PERIOD_SECONDS + 2) * _PERIOD_SECONDS
    return f"{PREFIX}v1.{expires}.{_signature(key, uri, expires)}.{_encode(uri.encode())}/{_shown(uri)}"


def read(key: bytes, link: str, now: float) -> LinkTarget | None:
    """Verifies a link and returns its target; ``None`` for a path that is no link.

    Raises:
        LinkError: the link was not signed with this key, was changed since, or has expired.
    """
    match = _LINK.match(link)
    if match is None:
        return None
    expires = int(match[1])
    try:
        uri = base64.urlsafe_b64decode(match[3] + "=" * (-len(match[3]) % 4)).decode()
    except ValueError:
        raise LinkError("this link was not made by this server") from None
    if not hmac.compare_digest(match[2], _signature(key, uri, expires)):
        raise LinkError("this link was not made by this server")
    if now >= expires:
        raise LinkError("this link has expired; load the page again")
    return LinkTarget(uri, "" if match[4] == _shown(uri) else match[4], expires)


def _signature(key: bytes, uri: str, expires: int) -> str:
    return _encode(hmac.digest(key, f"{expires}\n{uri}".encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _shown(uri: str) -> str:
    """The file name in a link; it keeps the URI's extension, by which the front end knows the media type."""
    return _UNSAFE.sub("_", file_name(uri))[-_MAX_NAME_LENGTH:] or "_"
