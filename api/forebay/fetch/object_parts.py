"""Objects of which parts are wanted, or are there: what of a fetch is not the download of a whole object."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from forebay.errors import ForebayError, IndexUnavailableError
from forebay.fetch.outcome import Report
from forebay.fetch.wanted_parts import Parts
from forebay.fetch.work import Item
from forebay.threads import map_in_threads
from forebay.uri import MediaURI
from forebay.volume.block_files import having_blocks
from forebay.volume.counters import Counters, Ended
from forebay.volume.files import Files

# So many objects at a time: each has requests of its own in flight.
_THREADS = 16


class ObjectParts(Protocol):
    """Fetches parts; see `forebay.parts.part_work.PartWork`."""

    def complete(self, uri: MediaURI) -> int | None:
        """Fetches what is missing of an object that is there in part.

        Returns:
            the bytes that were downloaded; ``None`` where it is to be downloaded as a whole.
        """

    def warm(self, uri: MediaURI, wanted: Parts) -> int | None:
        """Fetches some bytes of an object.

        Returns:
            the bytes that were downloaded; ``None`` where it is to be downloaded as a whole.
        """


class PartFetch:
    """Fetches parts before the whole objects of a fetch.

    Args:
        open_parts: gives what fetches those of one object.
        files: the volume's.
        counters: of this process.
        wanted: the bytes that are wanted; ``None`` for all, of which some may be there.
    """

    def __init__(
        self,
        open_parts: Callable[[], ObjectParts],
        files: Files,
        counters: Counters,
        wanted: Parts | None,
    ) -> None:
        self._open_parts = open_parts
        self._files = files
        self._counters = counters
        self._wanted = wanted

    def fetch(self, items: Sequence[Item], report: Report, cancelled: Callable[[], bool]) -> list[Item]:
        """Fetches parts of some objects, and reports those that are done.

        Args:
            report: may be called by other threads, one at a time.
            cancelled: asked before each; those that are left then are not reported.

        Returns:
            those that are to be downloaded as a whole.

        Raises:
            IndexUnavailableError: Redis does not come back.
        """
        concerned, whole = list(items), list[Item]()
        if self._wanted is None:
            # What is put together of blocks is compared with no checksum.
            there = having_blocks(self._files, [item.entry for item in items if not item.checksum])
            if not there:
                return concerned
            concerned = [item for item in items if item.entry in there]
            whole = [item for item in items if item.entry not in there]
        parts, reporting = self._open_parts(), threading.Lock()

        def fetch(item: Item) -> None:
            if cancelled():
                return
            error, size = self._attempt(parts, item)
            with reporting:
                if error is not None:
                    report(item.outcomes("failed", error=error))
                elif size is None:
                    whole.append(item)
                elif size:
                    report(item.outcomes("downloaded", size))
                else:
                    self._counters.ended([Ended(item.uri, "cached")])
                    report(item.outcomes("cached"))

        map_in_threads(fetch, concerned, _THREADS, "forebay-object-parts")
        return whole

    def _attempt(self, parts: ObjectParts, item: Item) -> tuple[ForebayError | None, int | None]:
        try:
            if self._wanted is not None:
                return None, parts.warm(item.uri, self._wanted)
            return None, parts.complete(item.uri)
        except IndexUnavailableError:
            # Nothing is wrong with the sample.
            raise
        except ForebayError as error:
            # The download of the whole may need less room, and tells what else is wrong.
            return (error, None) if self._wanted is not None else (None, None)
