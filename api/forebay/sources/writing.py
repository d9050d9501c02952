"""What writing to a source means, and what every writer has in common.

Reading and writing are kept apart: nothing that Forebay does by itself is ever given a writer.
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
    """Writes to one kind of place. Safe to use from many threads, and in a forked child.

    A writer makes one attempt at each call; whoever calls decides about another one. Every method
    raises what the methods of `forebay.sources.base.Source` raise.
    """

    def put(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        """Writes an object, in place of the one that may be there, and makes sure that it arrived.

        Args:
            file: its bytes; can be sought, and is read from its beginning.
            size: how many they are.

        Returns:
            what the source says of it: its size is ``size``, and its checksum, where the source gives
            one, that of the file.

        Raises:
            TransientSourceError: also where what has arrived is not what was sent.
        """

    def copy(self, source: MediaURI, target: MediaURI) -> ObjectInfo:
        """Copies an object within this kind of place, without its bytes coming by here.

        Returns:
            what the source says of the copy, whose size and checksum are those of the original.
        """

    def delete(self, uri: MediaURI) -> None:
        """Removes an object; does nothing where there is none."""


def content_type(uri: MediaURI) -> str:
    """The media type that a key's extension stands for."""
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
        info: what the source says of it.
        size: what it must be; ``None`` where that is not known.
        md5: likewise.
    """
    if size is not None and info.size != size:
        raise damaged(uri, f"it has {info.size:,} bytes instead of {size:,}")
    if md5 is not None and info.md5 is not None and info.md5 != md5:
        raise damaged(uri, f"its MD5 is {info.md5} instead of {md5}")


def damaged(uri: MediaURI, how: str) -> TransientSourceError:
    """The error for an object that is not the one that was written."""
    return TransientSourceError(uri.redacted, f"was written, but {how}; write it again")
