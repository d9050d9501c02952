"""The objects of one fetch, and which samples want each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from forebay.errors import ForebayError
from forebay.fetch.outcome import SampleOutcome, SampleState
from forebay.index import Entry
from forebay.uri import MediaURI, parse_object
from forebay.volume.counters import Ended


@dataclass(slots=True)
class Item:
    """One object that is wanted, by one or several samples.

    Attributes:
        uri: the object.
        entry: the entry that it becomes.
        samples: number and URI of each sample.
        token: of our claim on it.
        old: the value of the published entry that is to be replaced if the object has changed; or empty.
        lost: how often our claim was lost.
        attempts: how many attempts were made at its source.
        first_byte: seconds from the last request to the source's answer.
        seconds: how long the transfer took.
        retries: why attempts were repeated.
    """

    uri: MediaURI
    entry: str
    samples: list[tuple[int, str]]
    token: str = ""
    old: str = ""
    lost: int = 0
    attempts: int = 0
    first_byte: float = 0.0
    seconds: float = 0.0
    retries: list[str] = field(default_factory=list)

    def outcomes(
        self, state: SampleState, size: int = 0, error: ForebayError | None = None
    ) -> list[SampleOutcome]:
        """The outcomes of all its samples; its bytes count once."""
        first, *others = self.samples
        rest: SampleState = "cached" if state == "downloaded" else state
        return [
            SampleOutcome(*first, state, size, error, self.attempts),
            *(SampleOutcome(number, uri, rest, 0, error, self.attempts) for number, uri in others),
        ]

    def found(self, value: str) -> Ended:
        """The count of an object that was there, with the index's value of it."""
        return Ended(self.uri, "cached", Entry.parse(value).size, retries=self.retries)


def items_of(samples: Iterable[tuple[int, str]]) -> tuple[list[Item], list[SampleOutcome]]:
    """Samples grouped by the entry that they need, and those whose URI cannot be parsed."""
    items: dict[str, Item] = {}
    broken: list[SampleOutcome] = []
    for number, uri in samples:
        try:
            parsed = parse_object(uri)
            entry = parsed.entry
        except ForebayError as error:
            broken.append(SampleOutcome(number, uri, "failed", error=error))
            continue
        item = items.get(entry)
        if item is None:
            items[entry] = Item(parsed, entry, [(number, uri)])
        else:
            item.samples.append((number, uri))
    return list(items.values()), broken
