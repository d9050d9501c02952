"""The keys of media that CVAT does not accept, or takes for something else than frames."""

from __future__ import annotations

# Of which systems disagree whether they are names of videos.
MPEG_TS = (".ts", ".m2t", ".m2ts", ".mts")
CONTEXT_DIRECTORY = "related_images"


def is_canonical(key: str) -> bool:
    """Whether CVAT accepts a key: no part between its slashes is empty, ``.`` or ``..``."""
    return not {"", ".", ".."} & set(key.split("/"))


def is_context(key: str) -> bool:
    """Whether CVAT shows an image beside others, and not as a frame, because of its directory."""
    return CONTEXT_DIRECTORY in key.split("/")[:-1]
