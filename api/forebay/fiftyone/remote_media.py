"""The remote media of a loop, and which sample each file belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from forebay.lookahead.batch import is_fetchable
from forebay.uri import is_local, redact


@dataclass(frozen=True)
class RemoteMedia:
    """The media of a loop's steps: of one sample each, or of one group.

    What has a scheme that Forebay cannot fetch is among it, so that it is named as a failure.

    Attributes:
        steps: the URIs of each step, each of them once.
        owners: the id of the first sample that has each URI.
        numbers: the step of each sample, by its id.
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
        return next((owner for whole, owner in self.owners.items() if redact(whole) == uri), None)

    def scenes(self) -> RemoteMedia:
        """The 3D scenes alone."""
        steps = [[uri for uri in step if is_scene(uri)] for step in self.steps]
        return RemoteMedia(steps, self.owners, self.numbers)


def is_scene(path: str) -> bool:
    """Whether a path or URI is that of a 3D scene."""
    return (path if is_local(path) else urlsplit(path).path).endswith(".fo3d")
