"""A fetch of what is ordered: it takes new orders while it runs, and gives up what was cancelled."""

from __future__ import annotations

from collections import deque

from forebay.config.freshness import NEVER
from forebay.errors import ForebayError
from forebay.eviction.room import Room
from forebay.fetch.destination import Destination
from forebay.fetch.orders import Orders
from forebay.fetch.outcome import SampleOutcome
from forebay.fetch.run import Run
from forebay.fetch.transfer import Transfer
from forebay.fetch.work import Item, items_of
from forebay.sources.sources import Sources
from forebay.volume.counters import Counters, Ended
from forebay.volume.recovery import Recovery


class OrderRun(Run):
    """Fetches what is ordered until nothing is.

    Args:
        orders: the orders; the other arguments are those of `Run`.
    """

    # Each caller waits for its own object: whatever is there is published at once.
    flush_seconds = 0.0

    def __init__(
        self,
        destination: Destination,
        recovery: Recovery,
        room: Room,
        counters: Counters,
        sources: Sources,
        orders: Orders,
    ) -> None:
        super().__init__(destination, recovery, room, counters, sources, self._end)
        self._orders = orders
        # The numbers of objects that are not wanted any more, and of which something is still under way.
        self._dropped: set[int] = set()

    def fetch(self) -> None:
        """Returns when nothing is ordered any more.

        Raises:
            ForebayError: the fetch as a whole failed, as Redis does not come back.
        """
        self._orders.ring = lambda: self._events.put((None, None))
        try:
            self.work_off((), fresh=NEVER, cancelled=self._take, begun=lambda: None, idle=0.0)
        finally:
            self._orders.ring = lambda: None

    def _take(self) -> bool:
        """Is called again and again: takes what is new. The run as a whole is never cancelled."""
        new, unwanted = self._orders.take()
        items, broken = items_of(new)
        self._pending.extend(items)
        if broken:
            self._counters.ended(Ended(None, "failed", reason="bad_uri") for _ in broken)
            self._orders.report(broken)
        if unwanted:
            self._drop(set(unwanted))
        return False

    def _end(self, outcomes: list[SampleOutcome]) -> None:
        self._dropped.difference_update(outcome.number for outcome in outcomes)
        self._orders.report(outcomes)

    def _drop(self, numbers: set[int]) -> None:
        """Gives objects up: what is claimed is released, what is in flight ends. What is complete stays."""
        self._pending = deque(item for item in self._pending if item.number not in numbers)
        self._waiting = [item for item in self._waiting if item.number not in numbers]
        claimed = [item for item in self._claimed if item.number in numbers]
        if claimed:
            self._claimed = deque(item for item in self._claimed if item.number not in numbers)
            self._session.release([(item.entry, item.token) for item in claimed])
        flying = [transfer for transfer in self._flying if transfer.item.number in numbers]
        self._dropped.update(transfer.item.number for transfer in flying)
        for transfer in flying:
            if transfer in self._flying:
                self._next(transfer, transfer.give_way())

    def _ended(self, transfer: Transfer) -> None:
        super()._ended(transfer)
        self._forget(transfer.item)

    def _again(self, item: Item) -> None:
        super()._again(item)
        self._forget(item)

    def _fail(self, item: Item, error: ForebayError) -> None:
        if item.number in self._dropped:
            # Nothing waits for it, and it counts as neither downloaded nor failed.
            self._dropped.discard(item.number)
            self._release(item)
        else:
            super()._fail(item, error)

    def _forget(self, item: Item) -> None:
        """Does not begin again what was dropped."""
        if item.number in self._dropped and item in self._pending:
            self._dropped.discard(item.number)
            self._pending.remove(item)
