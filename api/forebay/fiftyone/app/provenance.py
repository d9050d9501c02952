"""Whether a URI comes from a dataset, or from whoever asks.

The browser sends the stages of the view that it wants to see. Two kinds of stages can put anything in
place of a sample's paths; without this, they would make the server sign whatever they name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

# A concatenation holds further stages.
_REWRITING = ("Concat", "Mongo", "SetField")
_NAMED = re.compile(rf"fiftyone\.core\.stages\.(?:{'|'.join(_REWRITING)})\b")


def may_rewrite(stages: str) -> bool:
    """Whether any of these stages, given as JSON, can change a path."""
    return _NAMED.search(stages) is not None


def stored(collection: Any, sample: dict[str, Any]) -> set[str] | None:
    """Every text that the database has for a sample of a view.

    Returns:
        ``None`` where nothing in the view can have changed its paths.
    """
    if not any(type(stage).__name__ in _REWRITING for stage in getattr(collection, "_all_stages", ())):
        return None
    # The dataset that a generated view lives in was filled by those stages.
    dataset = collection._dataset
    key = sample["_id"]
    if dataset._is_generated:
        dataset = collection._root_dataset
        key = sample.get("_sample_id", key)
    return set(_texts(dataset._sample_collection.find_one({"_id": key})))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
