"""A worker whose clock a storm changes while it runs: its Python sees the time that a file says.

    FOREBAY_STORM_CLOCK=FILE python -m tests.chaos.storm_worker worker --concurrency 2

libfaketime is not used: version 0.9.10 also shifts the absolute monotonic times that Python's `time.sleep`
gives to the kernel, so that every pause fails with EINVAL, or lasts for hours, as no wrong clock would do.
"""

from __future__ import annotations

import os
import time

_LOOK_SECONDS = 0.05


def shift_clock(file: str) -> None:
    """Shifts `time.time` and `time.time_ns` by the whole seconds in a file, which is read again and again."""
    real, monotonic = time.time_ns, time.monotonic
    seen, offset = -1.0, 0

    def time_ns() -> int:
        nonlocal seen, offset
        if monotonic() > seen + _LOOK_SECONDS:
            with open(file) as text:
                offset = int(text.read()) * 1_000_000_000
            seen = monotonic()
        return real() + offset

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


if __name__ == "__main__":
    shift_clock(os.environ["FOREBAY_STORM_CLOCK"])
    # Only now: many modules take `time` out of its module when they are imported.
    from forebay.cli import main

    main()
