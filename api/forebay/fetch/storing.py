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
from forebay.fetch.publishing import withdraw
from forebay.fetch.refusals import disk_error
from forebay.fetch.work import Item
from forebay.index import SessionLostError
from forebay.sources.base import ObjectInfo
from forebay.uri import parse_object
from forebay.volume.recovery import Recovery

_CHUNK_BYTES = 1 << 20


def store(destination: Destination, recovery: Recovery, room: Room, info: ObjectInfo, file: BinaryIO) -> None:
    """Copies a file into the cache.

    Args:
        info: what the source said of the object that was written; its URI is the object's.
        file: the same bytes, read from the beginning.

    Raises:
        CacheFullError: there is no room for it.
        SourceError: the file was changed after it was written to the source.
        ForebayError: the disk does not take it, or Redis cannot be reached.
    """
    parsed = parse_object(info.uri)
    pause = Backoff(0.005, 0.25)
    while True:
        [(token, answer)] = destination.session.claim([parsed.entry], always=True)
        if answer.granted:
            item = Item(parsed, parsed.entry, [], token=token, old=answer.value)
            with contextlib.suppress(SessionLostError):
                _copy(item, destination, room, info, file)
                return
            continue
        recovery.reap_if_gone(answer)
        time.sleep(pause.next())


def _copy(item: Item, to: Destination, room: Room, info: ObjectInfo, file: BinaryIO) -> None:
    size, limit = file.seek(0, 2), to.config.limit
    file.seek(0)
    place = PartialFile(item, to.files, to.session, to.unread, idle=0.0, verify=True)
    reservation = to.session.reservation(item.token)
    try:
        if limit is not None and size > limit:
            raise ObjectTooLargeError(  # noqa: TRY301
                f"{item.uri}: it is larger than the whole cache",
                uri=item.uri.redacted,
                size=size,
                limit=limit,
            )
        room.make(reservation, size, item.uri.redacted)
        place.open(info)
        while chunk := file.read(_CHUNK_BYTES):
            place.write([chunk])
        if place.written != size or info.size not in (None, size):
            raise SourceError(item.uri.redacted, "the local file was changed after it had been uploaded")  # noqa: TRY301
        download = place.publish(info, size, reservation)
    except BaseException as error:
        place.discard()
        reservation.close()
        to.session.release([(item.entry, item.token)])
        if isinstance(error, OSError):
            raise disk_error(item.uri, error, limit) from None
        raise
    try:
        to.session.commit([download])
    except BaseException:
        withdraw(to.files, to.session, download)
        to.session.abandon([(item.entry, item.token)])
        raise
