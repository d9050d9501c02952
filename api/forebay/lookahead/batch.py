"""One batch of what is fetched ahead of a loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forebay.errors import CacheFullError, ForebayError, ObjectTooLargeError, UriError
from forebay.uri import entry_of, is_local, redact

if TYPE_CHECKING:
    from forebay.cache import MediaCache
    from forebay.fetch.fetcher import Outcome
    from forebay.volume.leases import Lease

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Batch:
    """Samples ``first`` up to, not including, ``end``, and what must be fetched for them.

    Attributes:
        outcomes: of entries that have ended: why they failed, or ``None``.
        reading: entries that are being read, and that only the lease protects.
        left: set when the loop has passed by.
        begun: whether its last download has begun.
        ended: set when nothing is being fetched any more.
        settled: set when the loop has passed by, nothing is being fetched, and the lease has ended.
        settling: held by whoever sees to that.
    """

    cache: MediaCache
    first: int
    end: int
    uris: list[str]
    lease: Lease | None = None
    outcomes: dict[str, ForebayError | None] = field(default_factory=dict)
    reading: list[str] = field(default_factory=list)
    begun: bool = False
    left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    settled: threading.Event = field(default_factory=threading.Event)
    settling: threading.Lock = field(default_factory=threading.Lock)

    def download(self, failures: dict[str, str], *, update: bool, begun: Callable[[], None]) -> None:
        """Fetches what is missing, until the loop has passed by.

        Args:
            failures: takes the URI of what failed, and why.
            update: download again what has changed at its source.
            begun: called when the last download has begun.
        """
        dispatch, threads = self.cache.dispatcher.choose()
        if dispatch == "fleet":
            # Its queue keeps the order.
            begun()
            self._download_by_fleet(failures, update)
            return
        volume = self.cache.volume
        entries = [entry_of(uri) for uri in self.uris]
        there = [False] * len(entries) if update else volume.index.present(entries)
        missing = [
            uri
            for uri, entry, known in zip(self.uris, entries, there, strict=True)
            if not known or volume.use(entry) is None
        ]
        self.cache.fetcher.fetch(
            enumerate(missing),
            lambda outcomes: self._note(outcomes, failures),
            update=update,
            threads=threads,
            cancelled=self.left.is_set,
            begun=begun,
            unused=True,
        )

    def _download_by_fleet(self, failures: dict[str, str], update: bool) -> None:
        job = self.cache.download_media(self.uris, update=update, wait=False)
        job.wait(progress=lambda _: job.cancel() if self.left.is_set() else None)
        if job.failed:
            full = {redact(uri): uri for uri in self.uris}
            for failure in job.failures():
                failures[full[failure.uri]] = f"{failure.uri}: {failure.reason}"
        job.forget()

    def _note(self, outcomes: list[Outcome], failures: dict[str, str]) -> None:
        for outcome in outcomes:
            error = outcome.error
            # What found no room yet has not failed.
            if error is not None and (
                isinstance(error, ObjectTooLargeError) or not isinstance(error, CacheFullError)
            ):
                failures[outcome.uri] = str(error)
            self.outcomes[entry_of(outcome.uri)] = error

    def release(self, lease: Lease | None, *, clear: bool) -> None:
        """Gives up what the loop has passed by; what is still being fetched must be given up again.

        Args:
            lease: the one on it, if it still has one.
            clear: whether to remove it from the cache.
        """
        ended = self.ended.is_set()
        try:
            if lease is not None:
                lease.end()
            if clear and ended:
                self.cache.clear(self.uris)
        except ForebayError as error:
            # The loop needs nothing of this; the lease expires.
            log.warning("what was fetched ahead cannot be released: %s", error)
        finally:
            if ended:
                self.settled.set()


def understood(uri: str) -> bool:
    """Whether a URI is a remote one that can be fetched at all."""
    try:
        return not is_local(uri) and bool(entry_of(uri))
    except UriError:
        return False
