"""Links: what the App's server hands out in place of a URI, and the only way back to it.

A link looks like the path of a local file, because that is what the App's front end sends to
``/media``::

    /.forebay/v1.<expiry>.<signature>.<URI in base64>/<file name>

The signature covers URI and expiry. What a browser puts after the last slash instead of the file name,
as it does for the assets of a 3D scene, is a name relative to the object.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from forebay.fiftyone.mime import file_name

PREFIX = "/.forebay/"

_PERIOD_SECONDS = 86_400
_LINK = re.compile(r"/\.forebay/v1\.(\d{1,12})\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]+)/(.+)\Z", re.DOTALL)
# The front end decodes some links twice, and cuts them at these.
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_LONGEST_NAME = 100


class LinkError(Exception):
    """A link was not made by this server, or it has expired; the message says which."""


@dataclass(frozen=True)
class Target:
    """What a link leads to.

    Attributes:
        uri: what was signed.
        asset: the name of a file beside it that is asked for in its stead; ``""`` for none.
        expires: in seconds since the epoch.
    """

    uri: str
    asset: str
    expires: int


def make(key: bytes, uri: str, now: float) -> str:
    """A link to the object at ``uri``, good for one to two days.

    All links to one URI made on the same day are the same, so that a browser knows them again.

    Args:
        now: in seconds since the epoch.
    """
    expires = (int(now) // _PERIOD_SECONDS + 2) * _PERIOD_SECONDS
    return f"{PREFIX}v1.{expires}.{_signature(key, uri, expires)}.{_encode(uri.encode())}/{_shown(uri)}"


def read(key: bytes, link: str, now: float) -> Target | None:
    """What a link leads to; ``None`` for a path that is no link at all.

    Raises:
        LinkError: it was not signed with this key, was changed since, or has expired.
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
    return Target(uri, "" if match[4] == _shown(uri) else match[4], expires)


def _signature(key: bytes, uri: str, expires: int) -> str:
    return _encode(hmac.digest(key, f"{expires}\n{uri}".encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _shown(uri: str) -> str:
    """A file name by which the front end and people know what it is, and whose extension is the URI's."""
    return _UNSAFE.sub("_", file_name(uri))[-_LONGEST_NAME:] or "_"
