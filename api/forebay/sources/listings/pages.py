"""Parts that pages of all kinds of listings have in common."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime

from forebay.errors import SourceError
from forebay.sources.base import ObjectInfo, Page

# Larger numbers than this are no sizes of anything.
_MAX_DIGITS = 18
_MD5_BYTES = 16


class PageError(ValueError):
    """A page, or a chain of pages, that makes no sense; the text says why, without the URI."""


class Marker(str):
    """The key after which a page begins, where a server gives no tokens (version 1 of S3's listing)."""

    __slots__ = ()


def objects_of(page: Page, root: str, where: str) -> list[ObjectInfo]:
    """The metadata of a page's objects; see `Page.objects`.

    Args:
        where: what is listed, without secrets.

    Raises:
        SourceError: a size is no number.
    """
    try:
        return page.objects(root)
    except PageError as error:
        raise SourceError(where, str(error)) from None


def size_of(text: str) -> int:
    """A size in bytes.

    Raises:
        PageError: it is no whole number, or absurdly large.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise PageError(f"the listing gives the size {text[:40]!r}")
    return int(text)


def seconds_of(text: object) -> float | None:
    """A time such as ``2026-01-31T12:00:00.123Z`` in whole seconds since the epoch, as the header
    Last-Modified has them; ``None`` for what is none.
    """
    if not isinstance(text, str) or not text:
        return None
    try:
        zone = "+00:00" if text[-1] == "Z" else text[-6:]
        return datetime.fromisoformat(text[:19] + zone).timestamp()
    except (ValueError, OverflowError):
        return None


def md5_of(text: object) -> str | None:
    """An MD5 in base64 as 32 hexadecimal digits; ``None`` for what is none."""
    try:
        digest = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == _MD5_BYTES else None


def check(keys: Sequence[str], folders: Sequence[str], prefix: str) -> None:
    """Checks that a page is one of the listing that was asked for.

    Raises:
        PageError: a key or folder does not begin with the prefix, or cannot be a key.
    """
    if prefix:
        for name in (*keys, *folders):
            if not name.startswith(prefix):
                raise PageError(f"the listing has {name[:200]!a}, which does not begin with the prefix")
    if "" in keys:
        raise PageError("the listing has an object without a key")
    try:
        "".join((*keys, *folders)).encode()
    except UnicodeEncodeError:
        raise PageError("the listing has a key that is no Unicode text") from None
