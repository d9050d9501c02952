"""What stands for many samples without being a list of them in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

# A hit needs neither.
if TYPE_CHECKING:
    from forebay.engine import Engine
    from forebay.jobs.listed_samples import Samples


class SampleList(ABC):
    """Samples that are read while a job is made of them."""

    @abstractmethod
    def _parts(self, engine: Engine) -> Iterator[Samples]:
        """The samples, some at a time.

        Args:
            engine: of the cache that they are for, which reads what is remote.

        Raises:
            ForebayError: they cannot be read.
        """


def parts_of(samples: SampleList, engine: Engine) -> Iterator[Samples]:
    """The samples, some at a time: no operation of users, who have them as the URIs that they iterate over.

    Raises:
        ForebayError: they cannot be read.
    """
    return samples._parts(engine)
