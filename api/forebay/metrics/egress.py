"""What left the cloud, and what did not have to: bytes by where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Counts = Mapping[str, Mapping[str, float]]
"""Counts by source (or ``""``) and the counter's name."""

_GIGABYTE = 1e9


@dataclass(frozen=True, slots=True)
class Egress:
    """The bytes of one volume, since they are counted.

    Attributes:
        fetched: downloaded bytes, by their origin: ``cloud``, ``neighbour``.
        from_cache: bytes of cached files that programs asked for.
        sent: bytes that were sent to other volumes of the group.
    """

    fetched: Mapping[str, float] = field(default_factory=dict)
    from_cache: float = 0.0
    sent: float = 0.0

    @classmethod
    def of(cls, counts: Counts) -> Egress:
        """The bytes that counters have."""
        fetched: dict[str, float] = {"cloud": 0.0}
        for of_source in counts.values():
            for counter, amount in of_source.items():
                name, _, origin = counter.partition("|")
                if name == "fetched":
                    fetched[origin] = fetched.get(origin, 0.0) + amount
        common = counts.get("", {})
        return cls(fetched, common.get("hit_bytes", 0.0), common.get("served_bytes", 0.0))

    @property
    def saved(self) -> float:
        """Bytes that would have left the cloud without the cache, and without neighbours."""
        nearby = sum(amount for origin, amount in self.fetched.items() if origin != "cloud")
        return nearby + self.from_cache

    def saved_cost(self, price: float | None) -> float | None:
        """What they would have cost at so much a gigabyte; ``None`` where no price is known."""
        return None if price is None else self.saved / _GIGABYTE * price
