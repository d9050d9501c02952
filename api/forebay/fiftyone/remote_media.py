"""The remote media that a loop reads, step by step, and which sample each file belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from forebay.fiftyone.media_uris import is_scene
from forebay.lookahead.batch import is_fetchable
from forebay.uri import canonical_uri, redact


@dataclass(frozen=True)
class RemoteMedia:
    """The remote media of each step of a loop; a step is one sample, or one group.

    URIs with a scheme that Forebay cannot fetch are included, so that they are reported as failures.

    Attributes:
        steps: the URIs of each step, without duplicates.
        owners: the id of the first sample that has each URI.
        numbers: the number of each sample's step, by the sample's id.
    """

    steps: Sequence[Sequence[str]]
    owners: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    def uris(self) -> list[str]:
        """Every URI once, in order."""
        return list(dict.fromkeys(uri for step in self.steps for uri in step))

    def cacheable(self) -> list[str]:
        """Every URI that the cache can hold, once, in order."""
        return [uri for uri in self.uris() if is_fetchable(uri)]

    def owner(self, uri: str) -> str | None:
        """The id of the first sample with a URI, which may be given without its secrets."""
        if uri in self.owners:
            return self.owners[uri]
        # What a job failed to download has the names that workers know.
        wanted = canonical_uri(uri)
        return next(
            (owner for whole, owner in self.owners.items() if redact(canonical_uri(whole)) == wanted), None
        )

    def scenes(self) -> RemoteMedia:
        """The same steps with the 3D scenes only."""
        steps = [[uri for uri in step if is_scene(uri)] for step in self.steps]
        return RemoteMedia(steps, self.owners, self.numbers)
