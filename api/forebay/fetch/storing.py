"""Taking a local file into the cache as the copy of an object that was just written from it."""

from __future__ import annotations

import contextlib
import time
from typing import BinaryIO

from forebay.backoff import Backoff
from forebay.errors import ObjectTooLargeError, SourceError
from forebay.eviction.room import Room
from forebay.fetch.destination import Destination
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.refusals import disk_error
from forebay.fetch.work import Item
from forebay.index import SessionLostError
from forebay.sources.base import ObjectInfo
from forebay.uri import parse_object
from forebay.uri.blocks import Block
from forebay.volume.recovery import Recovery
from forebay.volume.reservation import Reservation

_CHUNK_BYTES = 1 << 20


def store(
    destination: Destination,
    recovery: Recovery,
    room: Room,
    info: ObjectInfo,
    file: BinaryIO,
    block: Block | None = None,
    token: str = "",
) -> None:
    """Copies a file into the cache.

    Args:
        info: what the source said of the object that was written; its URI is the object's.
        file: the same bytes, read from the beginning.
        block: what it is of the object; ``None`` for the whole.
        token: of a claim of the caller's on the whole, which ends with it; a new one by default.

    Raises:
        CacheFullError: there is no room for it.
        SourceError: the file was changed after it was written to the source.
        ForebayError: the disk does not take it, or Redis cannot be reached.
    """
    if token:
        parsed = parse_object(info.uri)
        _copy(Item(parsed, parsed.entry, 0, token=token), destination, room, info, file)
        return
    while True:
        item = claim(destination, recovery, info, block)
        with contextlib.suppress(SessionLostError):
            _copy(item, destination, room, info, file)
            return


def claim(destination: Destination, recovery: Recovery, info: ObjectInfo, block: Block | None = None) -> Item:
    """Waits until an object that was just written, or a block of it, is ours to publish."""
    parsed = parse_object(info.uri)
    entry = parsed.entry if block is None else block.entry
    pause = Backoff(0.005, 0.25)
    while True:
        [(token, answer)] = destination.session.claim([entry], always=True)
        if answer.granted:
            # The copy that is replaced takes space, also where the index does not know it yet.
            old = answer.value or recovery.adopt(entry, token)
            return Item(parsed, entry, 0, token=token, old=old)
        recovery.reap_if_gone(answer)
        time.sleep(pause.next())


def make_room(item: Item, to: Destination, room: Room, reservation: Reservation, size: int) -> None:
    """Reserves the bytes of a file.

    Raises:
        CacheFullError: there is no room for them.
    """
    limit = to.config.limit
    if limit is not None and size > limit:
        raise ObjectTooLargeError(
            f"{item.uri}: it is larger than the whole cache",
            uri=item.uri.redacted,
            size=size,
            limit=limit,
        )
    room.make(reservation, size, item.uri.redacted)


def write(place: PartialFile, info: ObjectInfo, file: BinaryIO, size: int) -> None:
    """Writes a file's bytes into the partial file.

    Raises:
        SourceError: they are not as many as were written to the source.
        OSError: the disk does not take them.
    """
    file.seek(0)
    place.open(info)
    while chunk := file.read(_CHUNK_BYTES):
        place.write([chunk], len(chunk))
    if place.written != size or info.size not in (None, size):
        raise changed(info)


def changed(info: ObjectInfo) -> SourceError:
    """The error for a file that is no longer what was written to the source."""
    return SourceError(
        parse_object(info.uri).redacted, "the local file was changed after it had been uploaded"
    )


def _copy(item: Item, to: Destination, room: Room, info: ObjectInfo, file: BinaryIO) -> None:
    size = file.seek(0, 2)
    place = PartialFile(item, to, idle=0.0, verify=True)
    reservation = to.session.reservation(item.token)
    try:
        make_room(item, to, room, reservation, size)
        write(place, info, file, size)
        download = place.publish(info, size, reservation)
    except BaseException as error:
        place.discard()
        reservation.close()
        to.session.release([(item.entry, item.token)])
        if isinstance(error, OSError):
            raise disk_error(item.uri, error, to.config.limit) from None
        raise
    try:
        to.session.commit([download])
    except BaseException:
        to.session.leave(download)
        to.session.abandon([(item.entry, item.token)])
        raise
