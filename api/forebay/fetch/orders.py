"""Orders for single objects, which one thread fetches together, however many callers wait for them.

A caller that places an order waits for nothing here: it is told when the order has ended. So coroutines do
not need a thread each. What the thread imports and opens is not needed to place an order.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from forebay.errors import ForebayError
from forebay.fetch.outcome import SampleOutcome

# Is told that an order has ended, with the reason if it failed; in the thread that fetches.
Done = Callable[[Exception | None], object]


class Order:
    """One caller's order for one object; `Orders.place` makes one.

    Attributes:
        uri, entry: the object.
        done: is called once, unless the order is cancelled.
        is_cancelled: whether the caller does not want it any more.
    """

    __slots__ = ("done", "entry", "is_cancelled", "uri")

    def __init__(self, uri: str, entry: str, done: Done) -> None:
        self.uri = uri
        self.entry = entry
        self.done = done
        self.is_cancelled = False


class OrderFetcher(Protocol):
    """Fetches what is ordered; see `forebay.fetch.fetcher.Fetcher`."""

    def fetch_orders(self, orders: Orders) -> None:
        """Fetches until nothing is ordered."""


class _Wanted:
    """An object that is being fetched, and who waits for it."""

    __slots__ = ("number", "orders")

    def __init__(self, number: int) -> None:
        self.number = number
        self.orders: list[Order] = []


class Orders:
    """The orders of one process for one volume. The thread lives as long as there are any.

    `place` and `cancel` may be called by any thread, and never wait; `cancel` by a finalizer, too, as it
    takes no lock. The other methods are for the thread that fetches. Not to be used in a forked child.

    Args:
        open_fetcher: opens the fetcher; is called in the thread.
    """

    def __init__(self, open_fetcher: Callable[[], OrderFetcher]) -> None:
        self._open_fetcher = open_fetcher
        # New orders, and those that have just been cancelled.
        self._inbox: SimpleQueue[Order] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        # Has the thread look at the inbox.
        self.ring: Callable[[], object] = lambda: None
        # Of the thread. By entry, and by the number that outcomes name.
        self._wanted: dict[str, _Wanted] = {}
        self._entries: dict[int, str] = {}
        self._numbers = itertools.count()
        self._new: list[tuple[int, str]] = []
        self._unwanted: list[int] = []

    def place(self, uri: str, entry: str, done: Done) -> Order:
        """Orders an object that is not there.

        Raises:
            ForebayError: there can be no thread, as at the end of the interpreter.
        """
        order = Order(uri, entry, done)
        with self._starting:
            if self._thread is None:
                self._start(entry)
            self._inbox.put(order)
        self.ring()
        return order

    def cancel(self, order: Order) -> None:
        """Cancels an order. Where it was the only one, the claim, the bytes and the partial file go."""
        order.is_cancelled = True
        self._inbox.put(order)
        self.ring()

    def _start(self, entry: str) -> None:
        self._thread = threading.Thread(target=self._work, name="forebay-orders", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            raise ForebayError(f"no thread can be started to fetch {entry}: {error}") from None
        except BaseException:
            # The handler of a signal raised it; a thread that has started nevertheless ends at once.
            self._thread = None
            raise

    # The thread's

    def take(self) -> tuple[list[tuple[int, str]], list[int]]:
        """What is new since the last call.

        Returns:
            number and URI of objects that are ordered now, and the numbers of those that are no longer.
        """
        self._sort_out()
        new, self._new = self._new, []
        unwanted, self._unwanted = self._unwanted, []
        return new, unwanted

    def report(self, outcomes: list[SampleOutcome]) -> None:
        """Ends the orders for objects that are there, or have failed."""
        for outcome in outcomes:
            entry = self._entries.pop(outcome.number, None)
            if entry is not None:
                self._end(self._wanted.pop(entry), outcome.error)

    def _work(self) -> None:
        with self._starting:
            if self._thread is not threading.current_thread():
                return
        while True:
            try:
                self._sort_out()
                if self._wanted:
                    self._open_fetcher().fetch_orders(self)
            except Exception as error:
                self._fail(error)
            with self._starting:
                if self._inbox.empty():
                    self._thread = None
                    return

    def _sort_out(self) -> None:
        while True:
            try:
                order = self._inbox.get_nowait()
            except Empty:
                return
            wanted = self._wanted.get(order.entry)
            if not order.is_cancelled:
                if wanted is None:
                    wanted = self._wanted[order.entry] = _Wanted(next(self._numbers))
                    self._entries[wanted.number] = order.entry
                    self._new.append((wanted.number, order.uri))
                wanted.orders.append(order)
            elif wanted is not None and order in wanted.orders:
                wanted.orders.remove(order)
                if not wanted.orders:
                    del self._wanted[order.entry], self._entries[wanted.number]
                    self._unwanted.append(wanted.number)

    def _fail(self, error: Exception) -> None:
        """Ends every order that was being fetched, or was to be, when the fetch as a whole failed."""
        failed, self._wanted = list(self._wanted.values()), {}
        self._entries, self._new, self._unwanted = {}, [], []
        for wanted in failed:
            self._end(wanted, error)

    def _end(self, wanted: _Wanted, error: Exception | None) -> None:
        for order in wanted.orders:
            # Each raises its own: a traceback would grow with every caller.
            order.done(copy.copy(error))
