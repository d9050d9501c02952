"""How many samples a message to the fleet stands for.

With ``auto``: one, up to `SINGLES` samples; beyond, as many as leave `SHARE` messages for each worker thread,
and `MAX_MESSAGE_SIZE` at most.
"""

from __future__ import annotations

from typing import Literal

SINGLES = 256
SHARE = 4
# A worker fetches all samples of a message together: so many are in flight, whatever its threads.
MAX_MESSAGE_SIZE = 256


def message_size(wanted: int | Literal["auto"], samples: int, threads: int) -> int:
    """How many samples go into one message.

    Args:
        wanted: as configured.
        samples: of the job.
        threads: of all workers.
    """
    if wanted != "auto":
        return wanted
    if samples <= SINGLES:
        return 1
    return max(1, min(MAX_MESSAGE_SIZE, samples // (SHARE * max(1, threads))))
