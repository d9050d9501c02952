"""Everything that Redis knows about a volume."""

from forebay.index.index import Index
from forebay.index.records import (
    Claimed,
    Download,
    Entry,
    LockLostError,
    SessionLostError,
    Space,
    StoredFile,
    Totals,
    Victim,
    batches,
)

__all__ = [
    "Claimed",
    "Download",
    "Entry",
    "Index",
    "LockLostError",
    "SessionLostError",
    "Space",
    "StoredFile",
    "Totals",
    "Victim",
    "batches",
]
