"""Exchanges of a transport that a test waits for."""

from __future__ import annotations

import threading

from forebay.transport import Exchange


class Gathering:
    """Waits until so many exchanges have ended."""

    def __init__(self, count: int) -> None:
        self.ended: list[Exchange] = []
        self._count, self._all = count, threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        self.ended.append(exchange)
        if len(self.ended) == self._count:
            self._all.set()

    def wait(self) -> list[BaseException]:
        """The errors, once all have ended."""
        assert self._all.wait(120)
        return [one.outcome.error for one in self.ended if one.outcome and one.outcome.error]
