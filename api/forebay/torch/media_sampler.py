"""The sampler: which indices this rank reads, in which order, and where it resumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any

from torch.utils.data import Sampler

from forebay.errors import ConfigError
from forebay.torch.epoch_order import EpochOrder, Place, rank_and_world_size, whole_number
from forebay.uri import shown


class MediaSampler(Sampler[int]):
    """The order in which a rank reads a `MediaDataset`: another one each epoch, and no sample in two ranks.

    Each index carries the order along, so that the processes of the loader fetch their next files ahead.
    The epoch counts up by itself; `set_epoch` sets it.

    Args:
        samples: the dataset, or anything of its length.
        shuffle: false for the order of the dataset.
        seed: of the order; the same in all ranks.
        drop_last: leave out what is left when the ranks have equally many samples. By default some samples
            are read twice instead, so that all ranks have equally many.
        rank: by default that of ``torch.distributed``, else the one that ``torchrun`` sets, else 0.
        world_size: likewise, else 1.

    Attributes:
        epoch: of the next iteration, from 0.

    Raises:
        ConfigError: ``rank`` is none of ``world_size``, ``seed`` no whole number, or ``samples`` of no
            length.
    """

    def __init__(
        self,
        samples: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if not isinstance(samples, Sized):
            raise ConfigError(f"expected the dataset, or a list of its length, and this is {shown(samples)}")
        self._length = len(samples)
        self._shuffle, self._seed, self._drop_last = shuffle, whole_number("seed", seed), drop_last
        self._rank, self._world_size = rank_and_world_size(rank, world_size)
        self.epoch = 0
        # Where the next iteration begins, in samples of all ranks.
        self._start = 0
        self._iterations = 0
        # The present iteration, and how many indices it has yielded.
        self._order: EpochOrder | None = None
        self._yielded = 0

    def __len__(self) -> int:
        """The number of samples of this rank in a whole epoch."""
        return len(self._new_order(0))

    def __iter__(self) -> Iterator[int]:
        self._iterations += 1
        order = self._order = self._new_order(self._start)
        self._yielded = 0
        for position, index in enumerate(order.indices().tolist()):
            if self._order is order:
                self._yielded = position + 1
            yield Place(index, order, position)
        if self._order is order:
            self.epoch, self._start = order.epoch + 1, 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration. A position in this epoch that was loaded stays.

        Raises:
            ConfigError: it is no whole number.
        """
        epoch = whole_number("epoch", epoch)
        if epoch != self.epoch:
            self.epoch, self._start = epoch, 0
        self._order = None

    def state_dict(self, done: int | None = None) -> dict[str, Any]:
        """The position in the epoch, for `load_state_dict`; the same in all ranks.

        Args:
            done: how many samples of this iteration the loop has done, as a ``DataLoader`` with processes is
                ahead of its loop: number of steps times batch size. By default what was yielded, which is
                right for torchdata's ``StatefulDataLoader`` and for a loader without processes.

        Raises:
            ConfigError: ``done`` is no whole number, or a negative one.
        """
        epoch, start, order = self.epoch, self._start, self._order
        if order is not None:
            done = self._yielded if done is None else min(whole_number("done", done, least=0), len(order))
            epoch, start = order.epoch, order.start + done * self._world_size
            if done == len(order):
                epoch, start = epoch + 1, 0
        return {
            "epoch": epoch,
            "start": start,
            "length": self._length,
            "seed": self._seed,
            "shuffle": self._shuffle,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resumes where `state_dict` was taken, with the same order; the number of ranks may be another.

        Raises:
            ConfigError: the state is of another number of samples, or none of a `MediaSampler`.
        """
        try:
            length, start = (whole_number(name, state[name], least=0) for name in ("length", "start"))
            epoch, seed = (whole_number(name, state[name]) for name in ("epoch", "seed"))
            shuffle = bool(state["shuffle"])
        except (KeyError, TypeError, ConfigError):
            raise ConfigError(f"the state {state!r} is none of a MediaSampler") from None
        if length != self._length:
            raise ConfigError(f"the state is of {length} samples, and there are {self._length} now")
        # With another order, the epoch would have some samples twice and others never.
        self.epoch, self._start, self._seed, self._shuffle = epoch, min(start, length), seed, shuffle
        self._order = None

    def _new_order(self, start: int) -> EpochOrder:
        return EpochOrder(
            length=self._length,
            shuffle=self._shuffle,
            seed=self._seed,
            epoch=self.epoch,
            start=start,
            rank=self._rank,
            world_size=self._world_size,
            drop_last=self._drop_last,
            iteration=self._iterations,
        )
