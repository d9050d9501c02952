"""Which blocks a reader will want next, told from those that it has read."""

from __future__ import annotations

# So many blocks are wanted ahead of a reader that goes on, and of one that leaves out as many each time.
MOST = 128
_MOST_IN_STEPS = 8


class Pattern:
    """The blocks that one reader has read; knows no file and no clock.

    A reader that takes one block after the other, or every n-th of them, will go on so; one that jumps about
    will not, and then nothing is fetched in vain.

    Args:
        count: how many blocks there are.
        most: how many may be wanted ahead.
    """

    def __init__(self, count: int, most: int = MOST) -> None:
        self._count = count
        self._most = most
        self._last: int | None = None
        self._step = 0
        # How often the step was the same, and the last block that was wanted ahead.
        self._steps = 0
        self._ahead = 0

    def read(self, number: int) -> list[int]:
        """Notes that a block is read.

        Returns:
            the blocks that will be wanted next, and have not been given before; mostly none.
        """
        last, self._last = self._last, number
        if last is None or number == last:
            return []
        step = number - last
        if step != self._step:
            # One step may be a jump, or a read across the end of a block.
            self._step, self._steps, self._ahead = step, 0, number
            return []
        self._steps += 1
        depth = min(4**self._steps, self._most, MOST if step == 1 else _MOST_IN_STEPS)
        if not depth:
            return []
        # In batches: not before a quarter of what was wanted has been read.
        if abs(self._ahead - number) > depth * abs(step) * 3 // 4:
            return []
        last_wanted = number + depth * step
        first = max(self._ahead, number) if step > 0 else min(self._ahead, number)
        wanted = [n for n in range(first + step, last_wanted + step, step) if 0 <= n < self._count]
        self._ahead = last_wanted
        return wanted
