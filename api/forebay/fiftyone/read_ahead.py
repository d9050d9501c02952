"""Running a workflow over a collection with its media fetched ahead."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from forebay.fiftyone import active_plans
from forebay.fiftyone.collection_media import MediaFields, collect_media, has_remote
from forebay.fiftyone.local_media import media_cache
from forebay.fiftyone.read_plan import ReadPlan
from forebay.fiftyone.remote_media import RemoteMedia


def read_ahead(
    collection: Any, media_fields: MediaFields = "filepath", include_assets: bool = False
) -> AbstractContextManager[ReadPlan | None]:
    """A context in which what reads the collection's media finds them fetched ahead.

    Args:
        media_fields: the fields whose media are read; as for `collect_media`.
        include_assets: whether the files that 3D scenes refer to are read, too.
    """
    media = RemoteMedia([])
    if has_remote(collection, media_fields):
        media = collect_media(collection, media_fields, include_assets=include_assets)
    return active_plans.activate(media_cache, media)
