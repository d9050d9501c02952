"""The objects of one fetch, and which samples want each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from forebay.config.freshness import Freshness
from forebay.errors import ChecksumError, ForebayError
from forebay.fetch.outcome import SampleOutcome, SampleState
from forebay.index import Entry
from forebay.neighbours.neighbourhood import Neighbourhood
from forebay.neighbours.ways import Origin, Way
from forebay.sources.base import Asking, SourceLookup
from forebay.sources.block_source import BlockSource
from forebay.uri import MediaURI, parse_object
from forebay.uri.blocks import Block
from forebay.volume.counters import Ended

Sample = tuple[int, str] | tuple[int, str, str]
"""Number and URI of a sample, and the checksum that its object must have, if one is known."""


@dataclass(slots=True)
class Item:
    """One object that is wanted, by one or several samples.

    Attributes:
        uri: the object.
        entry: the entry that it becomes.
        number: of the first sample that wants it.
        others: number and URI of each further one.
        token: of our claim on it.
        old: the value of the published entry that is to be replaced if the object has changed; or empty.
        renewed: the value that the index is to keep of the published entry instead, where it is not the same
            with the time of the check; empty for that.
        lost: how often our claim was lost.
        attempts: how many attempts were made at its source.
        first_byte: seconds from the last request to the source's answer.
        seconds: how long the transfer took.
        retries: why attempts were repeated.
        block: what is wanted of the object; ``None`` for the whole.
        way: how it comes here, where there are neighbours.
        is_from_upstream: whether its bytes came from the directory upstream.
        checksum: that its bytes must have, as `forebay.sources.checksums.named` takes it; empty for any.
    """

    uri: MediaURI
    entry: str
    number: int
    others: list[tuple[int, str]] | None = None
    token: str = ""
    old: str = ""
    renewed: str = ""
    lost: int = 0
    attempts: int = 0
    first_byte: float = 0.0
    seconds: float = 0.0
    retries: tuple[str, ...] = ()
    block: Block | None = None
    checksum: str = ""
    way: Way | None = None
    is_from_upstream: bool = False

    def is_fresh(self, fresh: Freshness) -> bool:
        """Whether the published entry need not be compared with its source."""
        return Entry.parse(self.old).known_current >= fresh.since(self.uri)

    def checked(self) -> str:
        """The value that the index is to keep of the published entry, once its source was asked for it."""
        return self.renewed or replace(Entry.parse(self.old), fetched=int(time.time())).format()

    @property
    def origin(self) -> Origin:
        """Where its bytes come from."""
        if self.is_from_upstream:
            return "upstream"
        return "cloud" if self.way is None else self.way.origin

    def source(self, sources: SourceLookup, neighbours: Neighbourhood | None = None) -> Asking:
        """Where it comes from.

        Raises:
            ForebayError: as `SourceLookup.for_uri`.
        """
        if self.way is not None and neighbours is not None:
            neighbour = neighbours.source(self.way, self.entry)
            if neighbour is not None:
                return neighbour
        source = sources.for_uri(self.uri)
        return source if self.block is None else BlockSource(source, self.block)

    @property
    def is_nearby(self) -> bool:
        """Whether a neighbour sends it; what fails there is had another way, without a further attempt."""
        return self.origin == "neighbour"

    def is_to_be_had_another_way(self, error: BaseException) -> bool:
        """Whether an error is that of a neighbour; counts it."""
        if self.way is None or not self.way.is_over(error):
            return False
        self.retries += ("neighbour",)
        return True

    def outcomes(
        self, state: SampleState, size: int = 0, error: ForebayError | None = None
    ) -> list[SampleOutcome]:
        """The outcomes of all its samples; its bytes count once."""
        outcomes = [SampleOutcome(self.number, self.uri.raw, state, size, error, self.attempts)]
        rest: SampleState = "cached" if state == "downloaded" else state
        for number, uri in self.others or ():
            outcomes.append(SampleOutcome(number, uri, rest, 0, error, self.attempts))
        return outcomes

    def found(self, value: str) -> Ended:
        """The count of an object that was there, with the index's value of it."""
        return Ended(self.uri, "cached", Entry.parse(value).size, retries=self.retries)

    def downloaded(self, size: int) -> Ended:
        """The count of an object that was downloaded."""
        times = (self.first_byte, self.seconds)
        return Ended(self.uri, "downloaded", size, *times, retries=self.retries, origin=self.origin)


def items_of(samples: Iterable[Sample]) -> tuple[list[Item], list[SampleOutcome]]:
    """Samples grouped by the entry that they need, and those whose URI cannot be parsed, or whose checksum is
    another than an earlier one's of the same entry."""
    items: dict[str, Item] = {}
    broken: list[SampleOutcome] = []
    for number, uri, *checksums in samples:
        checksum = checksums[0] if checksums else ""
        try:
            parsed = parse_object(uri)
            entry = parsed.entry
        except ForebayError as error:
            broken.append(SampleOutcome(number, uri, "failed", error=error))
            continue
        item = items.get(entry)
        if item is None:
            items[entry] = Item(parsed, entry, number, checksum=checksum)
        elif checksum and item.checksum and checksum != item.checksum:
            reason = f"the list gives it the checksum {checksum}, and {item.checksum} as well"
            broken.append(SampleOutcome(number, uri, "failed", error=ChecksumError(parsed.redacted, reason)))
        else:
            item.checksum = item.checksum or checksum
            item.others = item.others or []
            item.others.append((number, uri))
    return list(items.values()), broken
