"""What the supported versions of FiftyOne do not share: the only place that asks for the version.

A symbol that a version lacks is not hooked there. This is enough, because nothing of that version calls it:
each of these was added for something that the older version does not have. There are two exceptions. Before
1.16 the App's HEAD requests have a method of their own; before 1.22 buckets in the model zoo's manifests are
not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from forebay.config.fiftyone_versions import is_before
from forebay.fiftyone.hooks import Hook

SINCE = {
    "fiftyone.server.routes.groups._extract_urls": "1.11",
    "fiftyone.core.storage.FileCollection.__exit__": "1.12",
    "fiftyone.server.routes.runtime_assets.ModelWeights.get": "1.16",
    "fiftyone.core.storage.get_file_size": "1.18",
    "fiftyone.server.routes.embeddings_v2._hover_media": "1.20",
    "fiftyone.core.storage.commonpath": "1.22",
    "fiftyone.core.storage.open_ranged": "1.22",
    "fiftyone.multimodal.media_reference.field_model.resolve_sample_media": "1.22",
    "fiftyone.server.samples._media_asset_srcs": "1.22",
    "fiftyone.utils.lerobot._validate_dataset_root": "1.22",
    "fiftyone.zoo.models._build_zoo_models_manifest": "1.22",
}
"""The symbols that older versions lack, with the first version that has them."""

BEFORE = {
    "fiftyone.server.routes.media.Media.head": "1.16",
}
"""The symbols that newer versions lack, with the first version that lacks them."""


def fitting(hooks: Iterable[Hook], version: str) -> tuple[Hook, ...]:
    """The hooks whose symbols a supported version has."""
    return tuple(hook for hook in hooks if not _lacks(version, str(hook)))


def has_media_references(collection: Any) -> bool:
    """Whether samples have no paths of their own but refer to media, which FiftyOne 1.22 began with."""
    ask = getattr(collection, "_contains_media_references", None)
    return ask is not None and bool(ask())


def _lacks(version: str, symbol: str) -> bool:
    since, before = SINCE.get(symbol), BEFORE.get(symbol)
    return (since is not None and is_before(version, since)) or (
        before is not None and not is_before(version, before)
    )
