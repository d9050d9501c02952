"""Waiting for sockets without select(2), which cannot watch descriptors above 1,023."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import threading
from collections.abc import Sequence

# As epoll has them: ready to be read, to be written, and EPOLLERR or EPOLLHUP.
IN, OUT, BROKEN = 1, 4, 8 | 16


class Poller:
    """Watches descriptors with epoll, or with what the system has instead."""

    def __init__(self) -> None:
        self._watched: dict[int, int] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._selector = None if self._epoll else selectors.DefaultSelector()

    def watch(self, descriptor: int, events: int) -> None:
        """Watches a descriptor for `IN`, `OUT` or both from now on, instead of what was before."""
        known = self._watched.get(descriptor)
        if known == events:
            return
        self._watched[descriptor] = events
        if self._epoll is None:
            self._select(descriptor, events, known)
            return
        try:
            if known is None:
                self._epoll.register(descriptor, events)
            else:
                self._epoll.modify(descriptor, events)
        except FileExistsError:
            self._epoll.modify(descriptor, events)
        except FileNotFoundError:
            self._epoll.register(descriptor, events)

    def forget(self, descriptor: int) -> None:
        """No longer watches a descriptor, which may be closed already."""
        if self._watched.pop(descriptor, None) is None:
            return
        try:
            (self._epoll or self._selector).unregister(descriptor)  # type: ignore[union-attr]
        except (OSError, ValueError, KeyError):
            # It was closed, with which the kernel has forgotten it.
            return

    def wait(self, seconds: float) -> Sequence[tuple[int, int]]:
        """Waits until there is something to do; gives descriptors, each with `IN`, `OUT`, and what else the
        system says of it (`BROKEN`).
        """
        if self._epoll is not None:
            return self._epoll.poll(seconds)
        assert self._selector is not None
        return [
            (
                key.fd,
                (IN if mask & selectors.EVENT_READ else 0) | (OUT if mask & selectors.EVENT_WRITE else 0),
            )
            for key, mask in self._selector.select(seconds)
        ]

    def close(self) -> None:
        """Stops watching anything."""
        for one in (self._epoll, self._selector):
            if one is not None:
                one.close()

    def _select(self, descriptor: int, events: int, known: int | None) -> None:
        assert self._selector is not None
        mask = (selectors.EVENT_READ if events & IN else 0) | (selectors.EVENT_WRITE if events & OUT else 0)
        if known is None:
            self._selector.register(descriptor, mask)
        else:
            self._selector.modify(descriptor, mask)


class Bell:
    """Wakes a thread that waits in `Poller.wait`; may be rung from any thread."""

    def __init__(self) -> None:
        # Once it is closed, the numbers of its descriptors may be those of other files.
        self._lock = threading.RLock()
        self._is_closed = False
        if hasattr(os, "eventfd"):
            self.descriptor = self._send = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.descriptor, self._send = os.pipe()
            os.set_blocking(self.descriptor, False)
            os.set_blocking(self._send, False)

    def ring(self) -> None:
        """Wakes the thread; does nothing once the bell is closed."""
        # A full pipe is rung already.
        with self._lock, contextlib.suppress(OSError):
            if not self._is_closed:
                os.write(self._send, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    def clear(self) -> None:
        """Makes it quiet until it is rung again."""
        with contextlib.suppress(OSError):
            os.read(self.descriptor, 4096)

    def close(self) -> None:
        """Releases the descriptors."""
        with self._lock:
            self._is_closed = True
            for descriptor in {self.descriptor, self._send}:
                os.close(descriptor)
