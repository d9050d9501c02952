"""Whether a URI comes from a dataset, or from whoever asks.

The browser sends the stages of the view that it wants to see, and stages can put anything in place of a
sample's paths; without this, they would make the server sign whatever they name. Where all stages are
known to leave paths alone, what the view has is trusted; otherwise, only what the database has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

_MODULE = "fiftyone.core.stages"
_HARMLESS = frozenset(
    (
        "Exclude",
        "ExcludeBy",
        "ExcludeFields",
        "ExcludeFrames",
        "ExcludeGroupSlices",
        "ExcludeGroups",
        "ExcludeLabels",
        "Exists",
        "FilterField",
        "FilterKeypoints",
        "FilterLabels",
        "GroupBy",
        "Limit",
        "LimitLabels",
        "Match",
        "MatchFrames",
        "MatchLabels",
        "MatchTags",
        "Select",
        "SelectBy",
        "SelectFields",
        "SelectFrames",
        "SelectGroupSlices",
        "SelectGroups",
        "SelectLabels",
        "Shuffle",
        "Skip",
        "SortBy",
        "SortBySimilarity",
        "Take",
        "ToClips",
        "ToEvaluationPatches",
        "ToFrames",
        "ToPatches",
        "ToTrajectories",
    )
)
# With these, whoever asks names the files of the frames.
_NAMING = ("output_dir", "rel_dir", "frames_patt")


def stored(collection: Any, sample: dict[str, Any]) -> set[str] | None:
    """Every text that the database has for a sample of a view, and for its frames, if it comes with some.

    Returns:
        ``None`` where nothing in the view can have changed its paths.
    """
    if all(_is_harmless(stage) for stage in getattr(collection, "_all_stages", ())):
        return None
    # The dataset that a generated view lives in was filled by those stages.
    dataset = collection._dataset
    key = sample["_id"]
    if dataset._is_generated:
        dataset = collection._root_dataset
        key = sample.get("_sample_id", key)
    return _stored(dataset, key, sample.get("frames") or ())


def stored_frames(dataset: str, sample: str, stages: list[Any], frames: Any) -> set[str] | None:
    """Every text that the database has for the frames that were asked for, and for their sample.

    Args:
        dataset: its name.
        sample: the sample's id.
        stages: all stages of the view, as the browser has sent them.
        frames: as the server answers; their numbers count.

    Returns:
        ``None`` where nothing in the view can have changed their paths.
    """
    import fiftyone as fo
    import fiftyone.core.stages as fos
    from bson import ObjectId

    if all(_is_harmless(fos.ViewStage._from_dict(stage)) for stage in stages):
        return None
    return _stored(fo.load_dataset(dataset), ObjectId(sample), frames)


def _stored(dataset: Any, key: Any, frames: Iterable[dict[str, Any]]) -> set[str]:
    found = [dataset._sample_collection.find_one({"_id": key})]
    numbers = [frame.get("frame_number") for frame in frames]
    if numbers and dataset._frame_collection is not None:
        found += dataset._frame_collection.find({"_sample_id": key, "frame_number": {"$in": numbers}})
    return set(_texts(found))


def _is_harmless(stage: Any) -> bool:
    kind = type(stage)
    if kind.__module__ != _MODULE or kind.__name__ not in _HARMLESS:
        return False
    config = getattr(stage, "config", None)
    return not (isinstance(config, dict) and any(config.get(name) for name in _NAMING))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
