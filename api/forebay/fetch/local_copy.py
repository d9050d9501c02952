"""Copying a file below the setting ``local_roots`` into the cache: no server is asked."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from forebay.errors import ForebayError, NotModifiedError, SourceError
from forebay.fetch.destination import Destination
from forebay.fetch.kept_copy import KeptCopy
from forebay.fetch.partial_file import PartialFile
from forebay.fetch.refusals import too_large
from forebay.fetch.upstream_copy import READ, copy_bytes, is_same_file
from forebay.fetch.work import Item
from forebay.index import Entry
from forebay.sources.local_files import info_of, local_path_of, reading_error
from forebay.volume.beneath import Beneath
from forebay.volume.disk import allocate
from forebay.volume.reservation import Reservation


class LocalCopy(KeptCopy):
    """The file of an item, for one transfer.

    Args:
        item: names the file.
        to: where it is copied to.
        place: the transfer's partial file.
        reservation: the transfer's, which has room for the file when it is copied.
    """

    is_direct = True

    def __init__(self, item: Item, to: Destination, place: PartialFile, reservation: Reservation) -> None:
        self._item = item
        self._to = to
        self._place = place
        self._reservation = reservation
        self._refusal: ForebayError | None = None
        self.is_asking = False
        item.renewed, item.is_from_upstream = "", True
        try:
            root, self._from = local_path_of(item.uri)
            self._beneath = Beneath(root)
            self._status = self._beneath.status(self._from)
            self._check()
        except ForebayError as error:
            self._refusal = error
        except OSError as error:
            self._refusal = reading_error(item.uri, error)
        else:
            self.size = self._status.st_size

    def _check(self) -> None:
        uri, size, limit = self._item.uri, self._status.st_size, self._to.config.limit
        if not stat.S_ISREG(self._status.st_mode):
            raise SourceError(uri.redacted, "is no file")
        if limit is not None and size > limit:
            raise too_large(uri, size, limit)

    def is_there(self) -> bool:
        """True: there is no other way."""
        return True

    def compare(self, is_wanted: Callable[[], bool]) -> None:
        """Copies the file, unless the cached copy is still current. Called by a thread of the volume's.

        Raises:
            NotModifiedError: it is.
            SourceError: the file cannot be read, or changes meanwhile.
            OSError: the disk of the cache does not take it.
        """
        if self._refusal is not None:
            raise self._refusal
        item, info = self._item, info_of(self._item.uri, self._status)
        if item.old and Entry.parse(item.old).etag == info.etag and self._to.files.is_there(item.entry):
            raise NotModifiedError(item.uri.redacted, "it is the copy that is cached")
        try:
            descriptor = self._beneath.open(self._from, READ)
        except OSError as error:
            raise reading_error(item.uri, error) from None
        try:
            self._place.open(info, in_order=False)
            allocate(self._place.descriptor, self.size)
            copied = copy_bytes(descriptor, self._place.descriptor, self.size, is_wanted)
            if not is_wanted():
                return
            if copied != self.size or not is_same_file(self._status, os.fstat(descriptor)):
                raise SourceError(
                    item.uri.redacted, "was changed while it was copied: ask again once it is complete"
                )
        finally:
            os.close(descriptor)
        self._place.written = copied
        self.download = self._place.publish(info, copied, self._reservation)
