"""The outcome of writing a manifest."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class ManifestReport:
    """Counts of the images in a manifest that was just written.

    Attributes:
        path: the manifest's URI, or local path.
        added: how many images are new in it.
        kept: how many images the existing manifest had.
        gone: how many of the kept images no longer exist below the prefixes that were listed. They stay
            in the manifest.
        ignored: how many objects below a prefix are no images, judged by their names.
        context: how many images below a prefix lie in directories ``related_images/``: CVAT shows them
            beside other images, and not as frames.
        failed: how many images could not be read, and are not in the manifest.
        failures: the first of these, each with the reason.
    """

    path: str
    added: int = 0
    kept: int = 0
    gone: int = 0
    ignored: int = 0
    context: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
