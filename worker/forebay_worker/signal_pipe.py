"""Signals as bytes that can be waited for together with other things."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def signals(*numbers: signal.Signals) -> Iterator[int]:
    """A descriptor that becomes readable when one of these signals comes; they do nothing else meanwhile."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def read(descriptor: int) -> bytes:
    """The numbers of the signals that have come since the last call."""
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 4096)
    return b""
