"""The blocks of one version for one reader: those that are there, and those that have to come."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial

from forebay.aside import aside
from forebay.errors import ForebayError, ObjectChangedError
from forebay.fetch.outcome import SampleOutcome
from forebay.index import IndexEmptiedError
from forebay.parts.holder import Holder
from forebay.parts.pattern import MOST, Pattern
from forebay.uri import MediaURI
from forebay.uri.blocks import BLOCK_BYTES, Version
from forebay.volume.block_files import blocks_of

# So many blocks are fetched by one thread, and so many threads are at it: what they fetch together is there
# together, so a reader would wait longer for larger batches.
_BATCH = 8
_THREADS = 16
# So many blocks are fetched for reads that are known beforehand.
_MOST_TOGETHER = 1024
# So many files of blocks are kept open.
_MAX_OPEN = 8


def keep_with_object(holder: Holder, version: Version, entries: Sequence[str]) -> None:
    """Puts blocks under the leases that keep their object."""
    leases = holder.open_index().leases
    # A Redis that has lost its data has lost the leases with them.
    with contextlib.suppress(IndexEmptiedError):
        for lease in leases.of(version.entry):
            # For as long as it has, not longer.
            leases.add(lease, entries, 0.0)


def _most_unread(limit: int | None, most: int) -> int:
    """How many blocks may be fetched before they are read: in a small cache, too many evict one another."""
    return most if limit is None else min(most, limit // (4 * BLOCK_BYTES))


class Blocks:
    """Opens the blocks of a version, and fetches those that are missing. For one thread, also in forks.

    Args:
        holder: of the volume.
        uri: of the object.
        version: of the object.
        read_ahead: whether to fetch what the reader is about to want.

    Attributes:
        most_together: how many blocks `expect` may be told of at a time.
    """

    def __init__(self, holder: Holder, uri: MediaURI, version: Version, *, read_ahead: bool = True) -> None:
        self._holder = holder
        self._uri = uri
        self._version = version
        limit = holder.config.limit
        self._pattern = Pattern(version.count, _most_unread(limit, MOST) if read_ahead else 0)
        self.most_together = max(1, _most_unread(limit, _MOST_TOGETHER))
        self._open: OrderedDict[int, int] = OrderedDict()
        # The object's own file, once its blocks have been put together; it stays open.
        self._whole: int | None = None
        self._process = os.getpid()
        self._threads: ThreadPoolExecutor | None = None
        self._flying: dict[int, Future[int]] = {}
        # Blocks that were counted before they are read, and tell nothing of what will be read next.
        self._expected: set[int] = set()

    def descriptor(self, number: int) -> tuple[int, int]:
        """Where a block lies: the descriptor of a file, and the block's first byte in it. The file stays open
        until other blocks are read, or `close`.

        Raises:
            ForebayError: the block cannot be fetched; `ObjectChangedError` where there is a newer version.
        """
        found = self._open.get(number)
        if found is not None:
            self._open.move_to_end(number)
            return found, 0
        if self._whole is not None:
            return self._whole, number * BLOCK_BYTES
        is_expected = number in self._expected
        ahead = [] if is_expected else self.missing(self._pattern.read(number))
        found = self._opened(self._version.block(number).entry)
        if found is None and self._is_whole():
            return self.descriptor(number)
        if is_expected:
            self._expected.remove(number)
        else:
            self._count(found is not None)
        if ahead:
            self._fetch_ahead(ahead)
        while found is None:
            # Once it is fetched, it may be evicted before it is opened.
            self._wait_for(number)
            found = self._opened(self._version.block(number).entry)
        self._open[number] = found
        if len(self._open) > _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return found, 0

    def expect(self, numbers: Sequence[int]) -> None:
        """Fetches those that are missing of the blocks that will be read, all at the same time.

        Raises:
            ForebayError: as `fetch`.
        """
        missing = []
        for number in numbers:
            if number not in self._expected and number not in self._open:
                is_there = self._holder.files.locate(self._version.block(number).entry) is not None
                self._count(is_there)
                self._expected.add(number)
                if not is_there:
                    missing.append(number)
        if missing and self._whole is None and not self._is_whole():
            self.fetch(missing)

    def missing(self, numbers: Iterable[int] | None = None) -> list[int]:
        """The blocks that are not on the volume.

        Args:
            numbers: of which blocks; all by default.
        """
        files, version = self._holder.files, self._version
        wanted = range(version.count) if numbers is None else numbers
        return [n for n in wanted if files.locate(version.block(n).entry) is None]

    def fetch(self, numbers: Iterable[int]) -> int:
        """Brings blocks into the cache, and waits for them.

        Returns:
            the bytes that this process downloaded.

        Raises:
            ForebayError: one cannot be fetched. With `ObjectChangedError`, those there are were removed.
        """
        ended: list[SampleOutcome] = []
        blocks = [self._version.block(number) for number in numbers]
        self._holder.open_fetcher().fetch_blocks(self._uri, blocks, ended.extend)
        keep_with_object(self._holder, self._version, [block.entry for block in blocks])
        errors = [outcome.error for outcome in ended if outcome.error is not None]
        if any(isinstance(error, ObjectChangedError) for error in errors):
            # Else the next one who opens it would read the old version.
            files, entry = self._holder.files, self._version.entry
            self._holder.open_clearing().drop(blocks_of(files, entry))
        if errors:
            raise errors[0]
        return sum(outcome.size for outcome in ended)

    def close(self) -> None:
        """Closes the files, and gives up what has not been begun."""
        while self._open:
            os.close(self._open.popitem()[1])
        if self._whole is not None:
            os.close(self._whole)
            self._whole = None
        if self._threads is not None and self._process == os.getpid():
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None

    def settle(self) -> None:
        """Waits until nothing is fetched ahead any more, after `close`."""
        if self._process == os.getpid():
            wait([flying for flying in self._flying.values() if not flying.cancelled()])

    def _count(self, is_hit: bool) -> None:
        self._holder.counters.hits += is_hit
        self._holder.counters.misses += not is_hit

    def _is_whole(self) -> bool:
        """Whether the object's own file is there now, of the same version."""
        version = self._version
        found = self._opened(version.entry)
        if found is None:
            return False
        index = self._holder.open_index()
        # Of a file that is just being replaced, the index tells the old version. In this order: what is not
        # claimed after it was opened is what the index says then.
        [holder], [value] = index.claims.holders([version.entry]), index.entries.values([version.entry])
        is_this = value is not None and (value.size, value.etag) == (version.size, version.etag)
        if holder is not None or not is_this:
            os.close(found)
            return False
        self._whole = found
        return True

    def _opened(self, entry: str) -> int | None:
        path = self._holder.files.touch(entry)
        if path is not None:
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return None

    def _wait_for(self, number: int) -> None:
        self._forget_parent()
        flying = self._flying.pop(number, None)
        if flying is None:
            # As a whole: each of its calls of Redis would be made aside otherwise, by a thread of its own.
            aside(partial(self.fetch, [number]))
            return
        # Whether another block of the batch failed is not this one's matter: it is tried by itself.
        with contextlib.suppress(ForebayError):
            flying.result()

    def _fetch_ahead(self, numbers: list[int]) -> None:
        self._forget_parent()
        self._flying = {n: flying for n, flying in self._flying.items() if not flying.done()}
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="forebay-parts")
        wanted = [n for n in numbers if n not in self._flying]
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            flying = self._threads.submit(self.fetch, batch)
            self._flying.update(dict.fromkeys(batch, flying))

    def _forget_parent(self) -> None:
        """Begins anew in a forked child, which has not the threads."""
        if self._process != os.getpid():
            self._process, self._threads, self._flying = os.getpid(), None, {}
