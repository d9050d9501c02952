"""The order of one epoch, which the sampler hands to the processes of the loader with each index.

So these know what comes next, however they were started, and however long they live: nothing else has to
reach them. What goes along is how the order is made, not the order itself.
"""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import distributed

from forebay.errors import ConfigError
from forebay.uri import shown


@dataclass(frozen=True)
class EpochOrder:
    """What one rank reads in one epoch, or in the rest of it.

    Attributes:
        length: of the dataset.
        start: how many samples of the epoch all ranks together had before.
        iteration: which iteration of its sampler it is, so that a repeated one is another.
    """

    length: int
    shuffle: bool
    seed: int
    epoch: int
    start: int
    rank: int
    world_size: int
    drop_last: bool
    iteration: int

    def __len__(self) -> int:
        rest = self.length - self.start
        return rest // self.world_size if self.drop_last else -(-rest // self.world_size)

    def indices(self) -> torch.Tensor:
        """The indices, in order; the ranks have equally many."""
        return _indices(self)


class Place(int):
    """An index that knows its place in an order.

    Attributes:
        order: the order.
        position: in it, from 0.
    """

    order: EpochOrder
    position: int

    def __new__(cls, index: int, order: EpochOrder, position: int) -> Place:
        place = super().__new__(cls, index)
        place.order, place.position = order, position
        return place

    def __reduce__(self) -> tuple[Any, ...]:
        return Place, (int(self), self.order, self.position)


# One of the training, one of the validation.
@lru_cache(maxsize=2)
def _indices(order: EpochOrder) -> torch.Tensor:
    if order.shuffle:
        generator = torch.Generator().manual_seed(order.seed + order.epoch)
        rest = torch.randperm(order.length, generator=generator)[order.start :]
    else:
        rest = torch.arange(order.start, order.length)
    total = len(order) * order.world_size
    if total > len(rest) > 0:
        rest = rest.repeat(-(-total // len(rest)))
    return rest[:total][order.rank :: order.world_size].clone()


def rank_and_world_size(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """The rank of this process and the number of ranks: as given, else as PyTorch or ``torchrun`` say.

    Raises:
        ConfigError: they are no whole numbers, or do not fit together.
    """
    if distributed.is_available() and distributed.is_initialized():
        found = distributed.get_rank(), distributed.get_world_size()
    else:
        found = _of_torchrun("RANK", 0), _of_torchrun("WORLD_SIZE", 1)
    world_size = whole_number("world_size", found[1] if world_size is None else world_size, least=1)
    rank = whole_number("rank", found[0] if rank is None else rank)
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank={rank} is not allowed: must be from 0 to {world_size - 1}", setting="rank")
    return rank, world_size


def whole_number(name: str, value: object, least: int = -(1 << 62)) -> int:
    """A whole number of an argument; PyTorch's generators know none beyond 64 bits.

    Raises:
        ConfigError: it is none, or too small or too large.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not least <= number < 1 << 62:
        what = "a whole number" if least < 0 else f"a whole number of at least {least}"
        raise ConfigError(f"{name}={shown(value)} is not allowed: must be {what}", setting=name)
    return number


def processes_beside(world_size: int) -> int:
    """How many ranks share this machine's volume, as far as it is known."""
    return max(1, min(world_size, _of_torchrun("LOCAL_WORLD_SIZE", world_size)))


def _of_torchrun(name: str, otherwise: int) -> int:
    value = os.environ.get(name)
    try:
        return int(value) if value else otherwise
    except ValueError:
        raise ConfigError(
            f"the environment has {name}={shown(value)}: must be a whole number", setting=name
        ) from None
