"""Everything that Redis knows about a volume."""

from forebay.index.index import Index
from forebay.index.records import (
    Claimed,
    Download,
    Entry,
    IndexEmptiedError,
    LockLostError,
    SessionLostError,
    Space,
    StoredFile,
    Totals,
    Victim,
    batches,
    entry_value,
)

__all__ = [
    "Claimed",
    "Download",
    "Entry",
    "Index",
    "IndexEmptiedError",
    "LockLostError",
    "SessionLostError",
    "Space",
    "StoredFile",
    "Totals",
    "Victim",
    "batches",
    "entry_value",
]
