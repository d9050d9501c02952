"""Everything that Redis knows about a volume."""

from forebay.index.index import Claimed, Entry, Index, Reservation, SessionLostError, Totals

__all__ = ["Claimed", "Entry", "Index", "Reservation", "SessionLostError", "Totals"]
