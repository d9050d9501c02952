"""Everything that Redis knows about a volume."""

from forebay.index.index import (
    Claimed,
    Download,
    Entry,
    Index,
    LockLostError,
    Reservation,
    SessionLostError,
    Totals,
)

__all__ = [
    "Claimed",
    "Download",
    "Entry",
    "Index",
    "LockLostError",
    "Reservation",
    "SessionLostError",
    "Totals",
]
