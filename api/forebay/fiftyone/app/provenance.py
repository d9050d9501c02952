"""Whether a URI comes from the dataset or from the request, so that only the dataset's URIs are signed.

The browser sends the stages of the view that it shows, and stages can replace a sample's paths by any
other. If all stages are known not to change paths, the paths in the view are trusted; otherwise only
those that the database has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bson import ObjectId

from forebay.fiftyone.deferred import fo, fost

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
# With these arguments, a stage itself names the files of the frames.
_NAMING_ARGUMENTS = ("output_dir", "rel_dir", "frames_patt")


def stored_strings(collection: Any, sample: dict[str, Any]) -> set[str] | None:
    """All strings that the database has for a sample of a view, and for the frames that it comes with.

    Returns:
        ``None`` if no stage of the view can have changed paths.
    """
    if all(_is_harmless(stage) for stage in getattr(collection, "_all_stages", ())):
        return None
    # A generated view has a dataset of its own, which those stages filled.
    dataset = collection._dataset
    key = sample["_id"]
    if dataset._is_generated:
        dataset = collection._root_dataset
        key = sample.get("_sample_id", key)
    return _stored(dataset, key, sample.get("frames") or ())


def stored_frame_strings(dataset: str, sample: str, stages: list[Any], frames: Any) -> set[str] | None:
    """All strings that the database has for the requested frames, and for their sample.

    Args:
        dataset: its name.
        sample: the sample's id.
        stages: all stages of the view, as the browser sent them.
        frames: as in the server's response, for their numbers.

    Returns:
        ``None`` if no stage of the view can have changed paths.
    """
    if all(_is_harmless(fost.ViewStage._from_dict(stage)) for stage in stages):
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
    return not (isinstance(config, dict) and any(config.get(name) for name in _NAMING_ARGUMENTS))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
