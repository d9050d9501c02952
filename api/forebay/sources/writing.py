"""The protocol of a writer, and the checks that all writers share.

Reading and writing are kept apart: Forebay gives a writer only to functions whose purpose is to write.
"""

from __future__ import annotations

import hashlib
import mimetypes
from typing import BinaryIO, Protocol

from forebay.errors import TransientSourceError
from forebay.sources.base import ObjectInfo
from forebay.uri import MediaURI

_CHUNK_BYTES = 1 << 20


class Writer(Protocol):
    """Writes to one kind of source. Safe to use from many threads, and in a forked child.

    Each call makes one attempt; the caller decides about another one. The methods raise the same errors
    as those of `forebay.sources.base.Source`.
    """

    def put(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        """Writes an object, in place of the one that may be there, and makes sure that it arrived.

        Args:
            file: its bytes; must be seekable, and is read from its beginning.
            size: of the file in bytes.

        Returns:
            the object's metadata: its size is ``size``, and its checksum, where the source gives one,
            that of the file.

        Raises:
            TransientSourceError: also where the size or checksum of the object is not the file's.
        """

    def copy(self, source: MediaURI, target: MediaURI) -> ObjectInfo:
        """Copies an object on the server; its bytes do not pass through this machine.

        Returns:
            the copy's metadata, whose size and checksum are those of the original.
        """

    def delete(self, uri: MediaURI) -> None:
        """Removes an object; does nothing where there is none."""


def content_type(uri: MediaURI) -> str:
    """The media type for a key's extension; ``application/octet-stream`` where it has none that is known."""
    return mimetypes.guess_type(uri.key)[0] or "application/octet-stream"


def md5_of(file: BinaryIO) -> str:
    """The MD5 of a whole file, as 32 hexadecimal digits."""
    file.seek(0)
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def check_arrived(uri: MediaURI, info: ObjectInfo, size: int | None, md5: str | None) -> None:
    """Makes sure that an object is the one that was written.

    Args:
        info: its metadata, from the source.
        size: the expected size in bytes; ``None`` where that is not known.
        md5: the expected MD5; ``None`` where that is not known.

    Raises:
        TransientSourceError: it is another one.
    """
    if size is not None and info.size != size:
        raise damaged(uri, f"it has {info.size:,} bytes instead of {size:,}")
    if md5 is not None and info.md5 is not None and info.md5 != md5:
        raise damaged(uri, f"its MD5 is {info.md5} instead of {md5}")


def damaged(uri: MediaURI, how: str) -> TransientSourceError:
    """The error for an object that is not the one that was written."""
    return TransientSourceError(uri.redacted, f"was written, but {how}; write it again")
