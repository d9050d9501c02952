"""Everything that Redis knows about a volume."""

from forebay.index.index import Entry, Index, Reservation, SessionLostError, Totals

__all__ = ["Entry", "Index", "Reservation", "SessionLostError", "Totals"]
