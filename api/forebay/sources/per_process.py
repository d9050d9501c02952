"""Values that each process makes for itself, because a forked child must not use its parent's clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from forebay import forks

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first asks for it.

    No fork happens while it is made, so that ``make`` may import modules.

    Args:
        make: makes the value; called once in each process, by the first thread that needs it.

    Attributes:
        made: the value, if it has been made in this process.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.made: T | None = None
        forks.forget_in_children(self)

    def get(self) -> T:
        value = self.made
        if value is not None:
            return value
        with forks.setting_up():
            if self.made is None:
                self.made = self._make()
            return self.made

    def forget(self) -> object:
        """Is called in a forked child: the parent's value is not the child's."""
        value, self.made = self.made, None
        return value
