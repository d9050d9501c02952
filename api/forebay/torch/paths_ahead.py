"""The local paths of the samples of one process, whose files are fetched ahead in the order of its share."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.util import Finalize
from typing import TypeAlias, overload

import redis  # noqa: F401 - see below
from torch.utils.data import get_worker_info

# What opens a cache is loaded here, once, so that the processes that a loader forks need not load it each.
import forebay.opened
import forebay.writable  # noqa: F401
from forebay.cache import MediaCache
from forebay.engine import Engine
from forebay.errors import CacheFullError, ObjectTooLargeError
from forebay.lookahead.batch import is_fetchable
from forebay.lookahead.parent_leases import take_from_another
from forebay.lookahead.window import LookAhead
from forebay.torch.epoch_order import EpochOrder, Place, processes_beside
from forebay.uri import entry_of

# The URIs of the sample with an index.
UrisOf: TypeAlias = Callable[[int], list[str]]
# The local path of a URI of the sample with a number in its training batch.
PathOf: TypeAlias = Callable[[int, str], str]

# What a process has at hand: so many slices of so many training batches, the present one included. Small, as
# what the others need next would otherwise wait behind what this one needs much later.
_SLICES = 4
_BATCHES_IN_SLICE = 2
# How often room is asked for where no other process has any to give.
_ATTEMPTS = 3


class Share(Sequence[list[str]]):
    """The samples of an order that come to one process of a loader, as the lists of their URIs.

    A loader deals training batches to its processes in turn. So what the first one was tells what the
    others will be.

    Args:
        order: the order.
        first: the position of the first sample.
        size: samples in a training batch.
        processes: of the loader.
        uris_of: gives the URIs of a sample.
    """

    def __init__(self, order: EpochOrder, first: int, size: int, processes: int, uris_of: UrisOf) -> None:
        self.order = order
        self._first, self._size, self._step = first, size, size * processes
        self._indices = order.indices()
        self._uris_of = uris_of
        rounds, rest = divmod(max(0, len(self._indices) - first), self._step)
        self._length = rounds * size + min(rest, size)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, number: int) -> list[str]: ...
    @overload
    def __getitem__(self, number: slice) -> list[list[str]]: ...
    def __getitem__(self, number: int | slice) -> list[str] | list[list[str]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(self._length))]
        rounds, offset = divmod(number, self._size)
        return self._uris_of(int(self._indices[self._first + rounds * self._step + offset]))

    def number(self, position: int, count: int) -> int | None:
        """The number of a training batch's first sample in this share; ``None`` if that is of another one."""
        rounds, offset = divmod(position - self._first, self._step)
        return rounds * self._size + offset if rounds >= 0 and offset + count <= self._size else None


class ShareAhead(LookAhead):
    """Fetches a share ahead of its process.

    Args:
        engine: of the cache.
        share: the share.
        size: samples in a training batch.
        target: of a slice, in bytes.
    """

    def __init__(self, engine: Engine, share: Share, size: int, target: int) -> None:
        super().__init__(engine, share, target_size_bytes=target, lookahead=_SLICES - 1)
        self._size = size

    def _next_size(self) -> int:
        # The first slice is the first training batch: the loop waits for no other.
        return min(super()._next_size(), _BATCHES_IN_SLICE * self._size) if self._sizes[0] else self._size


class Singles:
    """Finds out how many samples a training batch has whose samples are asked for one by one.

    A dataset around ours asks so. Which sample follows the last one of a batch tells it, and it stays so.
    """

    def __init__(self) -> None:
        self._size: int | None = None
        # The first place of a run of neighbours, and how many they are so far.
        self._first: Place | None = None
        self._count = 0

    def batch_size(self, place: Place) -> int | None:
        """The size; ``None`` while it is not known.

        Args:
            place: of the next sample, which was not expected.
        """
        processes, first = _processes(), self._first
        if processes == 1:
            return 1
        is_same = first is not None and first.order == place.order
        step = place.position - first.position if is_same and first is not None else None
        if step == self._count:
            self._count += 1
            return None
        if step == self._count * processes:
            self._size = self._count
        elif is_same:
            self._size = None
        self._first, self._count = place, 1
        return self._size


class PathsAhead:
    """Finds the files of training batches; fetches the next ones meanwhile where the sampler says which.

    It belongs to one process, at whose end the leases end, too.

    Args:
        cache: the cache.
        uris_of: gives the URIs of a sample.

    Attributes:
        process: the id of the process.
    """

    def __init__(self, cache: MediaCache, uris_of: UrisOf) -> None:
        self.process = os.getpid()
        self._engine = cache.engine
        self._uris_of = uris_of
        self._share: Share | None = None
        self._ahead: LookAhead | None = None
        self._singles = Singles()
        if multiprocessing.parent_process() is None:
            atexit.register(_close, weakref.ref(self))
        else:
            # A forked process runs nothing of `atexit`.
            Finalize(None, self._end_process, (cache,), exitpriority=10)

    @contextmanager
    def reading(self, indices: Sequence[int], *, is_batch: bool) -> Iterator[PathOf]:
        """Gives the paths of a training batch, whose files are safe from eviction within the block.

        Args:
            indices: of its samples; places of a `MediaSampler` tell what comes next.
            is_batch: whether this is the whole training batch; else it is one sample of it.
        """
        ahead, first, is_last = self._seek(indices, is_batch)

        def path_of(number: int, uri: str) -> str:
            if ahead is None:
                return self.path(uri)
            return self._with_room(lambda: ahead.path(first + number, uri))

        try:
            yield path_of
        finally:
            if is_last and ahead is not None:
                ahead.close()

    def path(self, uri: str) -> str:
        """The path of a single file, fetched now if it is missing.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        return self._with_room(lambda: self._engine.local_path(uri))

    def close(self) -> None:
        """Ends the leases; downloads that run are finished."""
        ahead, self._ahead, self._share = self._ahead, None, None
        if ahead is not None:
            ahead.close()

    def _end_process(self, cache: MediaCache) -> None:
        self.close()
        cache.close()

    def _seek(self, indices: Sequence[int], is_batch: bool) -> tuple[LookAhead | None, int, bool]:
        """What finds the samples, the number of the first one in it, and whether they are its last ones."""
        first = indices[0]
        if not isinstance(first, Place) or any(
            not isinstance(place, Place) or place.order != first.order or place.position != position
            for position, place in enumerate(indices, first.position)
        ):
            return self._together(indices), 0, True
        number = None
        if self._share is not None and self._share.order == first.order:
            number = self._share.number(first.position, len(indices))
        if self._share is None or number is None:
            size = len(indices) if is_batch else self._singles.batch_size(first)
            if size is None:
                return None, 0, False
            number = 0
            self._begin(first, size)
        assert self._share is not None
        return self._ahead, number, number + len(indices) >= len(self._share)

    def _begin(self, first: Place, size: int) -> None:
        self.close()
        processes = _processes()
        self._share = Share(first.order, first.position, size, processes, self._uris_of)
        config = self._engine.config
        target = 2 * config.download_size_bytes // _SLICES
        if config.limit is not None:
            # What all processes have at hand, and what they have just left, must find room beside each other.
            others = processes * processes_beside(first.order.world_size)
            target = min(target, config.limit // ((_SLICES + 1) * others))
        self._ahead = ShareAhead(self._engine, self._share, size, max(1, target))
        self._ahead.for_children = True

    def _together(self, indices: Sequence[int]) -> LookAhead | None:
        """Fetches the missing ones of samples of which nothing else is known, all at the same time."""
        samples = [self._uris_of(index) for index in indices]
        files = self._engine.files
        missing = {
            uri for uris in samples for uri in uris if is_fetchable(uri) and not files.locate(entry_of(uri))
        }
        if len(missing) < 2:
            return None
        ahead = LookAhead(self._engine, samples, batch_size=len(samples))
        ahead.for_children = True
        return ahead

    def _with_room(self, find: Callable[[], str]) -> str:
        """Finds a file; takes the room from what other processes fetch ahead where there is no other."""
        attempts = 0
        while True:
            try:
                return find()
            except ObjectTooLargeError:
                raise
            except CacheFullError:
                # A lease that ends while this looks for one has made room, too.
                attempts = 0 if take_from_another(self._engine.open_index()) else attempts + 1
                if attempts == _ATTEMPTS:
                    raise


def _processes() -> int:
    worker = get_worker_info()
    return 1 if worker is None else worker.num_workers


def _close(reference: weakref.ref[PathsAhead]) -> None:
    paths = reference()
    if paths is not None and paths.process == os.getpid():
        paths.close()
