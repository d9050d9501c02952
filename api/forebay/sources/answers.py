"""Reading an object's metadata from the head of an answer."""

from __future__ import annotations

import base64
import binascii
import re

from forebay.errors import SourceError
from forebay.sources.base import ObjectInfo
from forebay.transport import Head
from forebay.transport.decoding import UNDONE
from forebay.uri import MediaURI

# Names that themselves say that the bytes are packed: those are kept as they are stored.
_PACKED = (".gz", ".gzip", ".tgz", ".svgz", ".z", ".br", ".zst", ".tzst")
_GOOGLE_CRC32C = re.compile(r"\bcrc32c=([A-Za-z0-9+/]{6}==)")
_GOOGLE_MD5 = re.compile(r"\bmd5=([A-Za-z0-9+/]{22}==)")
# Of an ETag or a media type; longer ones are not stored.
_MAX_CHARACTERS = 512
# Later dates than in the year 2242 are mistakes, and file systems do not take all of them.
_MAX_SECONDS = float(1 << 33)


class EncodedPartError(SourceError):
    """A part was sent of an object that is stored encoded, which only the whole object can be decoded."""


def keeps_encoding(uri: MediaURI) -> bool:
    """Whether an object's bytes are kept as they are sent, because its name says that they are packed."""
    return uri.key.lower().endswith(_PACKED)


def describe(
    uri: MediaURI, head: Head, *, md5: str | None = None, size: int | None = None, ranges: bool = True
) -> ObjectInfo:
    """An object's metadata, from an answer of status 200 or 206, or from one of 416.

    Args:
        md5: of the bytes that were sent.
        size: of the whole object, where the answer has no length of its own.
        ranges: whether the source sends parts.

    Raises:
        SourceError: its Content-Encoding is one that cannot be undone.
        EncodedPartError: it is a part of an object that is stored encoded.
    """
    encoded = bool(head.encoding) and not keeps_encoding(uri)
    if encoded and head.encoding not in UNDONE:
        reason = "the object is stored with a Content-Encoding that cannot be undone; store it as it is"
        raise SourceError(uri.redacted, reason)
    if encoded and head.status == 206:
        raise EncodedPartError(uri.redacted, "only the whole of this object can be decoded")
    if head.status == 200:
        size = head.size if head.size is not None else size
    else:
        size = head.span[2] if head.span else None
    modified = head.headers.time("last-modified")
    return ObjectInfo(
        uri.raw,
        None if encoded else size,
        _text(head, "etag"),
        modified if modified is not None and 0 <= modified < _MAX_SECONDS else None,
        content_type=_text(head, "content-type"),
        md5=None if encoded or head.status != 200 else md5,
        ranges=ranges and size is not None and not encoded,
    )


def _text(head: Head, name: str) -> str | None:
    """A header's value, if it can be stored and sent back."""
    value = head.headers.get(name)
    if not value or len(value) > _MAX_CHARACTERS or not (value.isascii() and value.isprintable()):
        return None
    return value


def md5_of(head: Head) -> str | None:
    """The MD5 of what was sent, in 32 hexadecimal digits, from the headers of Google and of HTTP."""
    google = _GOOGLE_MD5.search(head.headers.get("x-goog-hash") or "")
    text = google[1] if google else head.headers.get("content-md5") or ""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == 16 else None


def google_crc32c(head: Head) -> str | None:
    """The CRC-32C of what is stored, in base64, from the headers of Google."""
    found = _GOOGLE_CRC32C.search(head.headers.get("x-goog-hash") or "")
    return found[1] if found else None
