"""Samples of a job that is being made, as they come from a listing or a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from forebay.fetch.outcome import SampleOutcome

# With so many the download begins.
FIRST_SAMPLES = 1000


@dataclass(slots=True)
class Samples:
    """Some samples, in order.

    Attributes:
        uris: of those that can be fetched.
        checksums: that their objects must have, one for each URI; empty where none is known.
        broken: rows of a list that name nothing that could be fetched, with the reasons.
        is_last: whether it is known that no more follow.
    """

    uris: list[str] = field(default_factory=list)
    checksums: list[str] = field(default_factory=list)
    broken: list[SampleOutcome] = field(default_factory=list)
    is_last: bool = False

    def __len__(self) -> int:
        return len(self.uris) + len(self.broken)

    def add(self, other: Samples | Sequence[str]) -> None:
        """Adds further samples behind these; URIs alone have no checksums."""
        if not isinstance(other, Samples):
            other = Samples(list(other))
        if other.checksums or self.checksums:
            self.checksums += [""] * (len(self.uris) - len(self.checksums))
            self.checksums += other.checksums or [""] * len(other.uris)
        self.uris += other.uris
        self.broken += other.broken
        self.is_last = other.is_last


def told_last(parts: Iterable[Samples]) -> Iterator[Samples]:
    """The same parts, each with whether it is the last. For parts that come at once: it reads one ahead."""
    held: Samples | None = None
    for part in parts:
        if held is not None:
            yield held
        held = part
    if held is not None:
        held.is_last = True
        yield held


def first_of(parts: Iterator[Samples | Sequence[str]]) -> tuple[Samples, bool]:
    """The samples with which a job begins, and whether they are all."""
    first = Samples()
    for part in parts:
        first.add(part)
        if len(first) >= FIRST_SAMPLES:
            return first, first.is_last
    return first, True
