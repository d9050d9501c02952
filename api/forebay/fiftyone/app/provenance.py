"""Whether a URI comes from a media field of the dataset, so that only such URIs are signed.

Other texts of a sample may look like URIs: a tag, a note, what a model has read in an image. The browser
sends the stages of the view that it shows, and stages can replace a sample's paths by any other. If all
stages are known not to change paths, the media fields of the view are trusted; otherwise only what the
database has in the sample's media fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bson import ObjectId

from forebay.fiftyone.deferred import fost

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


def media_paths(dataset: Any, *, frames: bool = False) -> set[str]:
    """The media fields in the schema of a dataset, or of its frames, as ``map.map_path``."""
    found = dataset._get_media_fields(frames=frames)
    paths = {root if leaf is None else f"{root}.{leaf}" for root, leaf in found.items()}
    # The images of frames, where `to_frames` has sampled them.
    return paths | {"filepath"}


def stored_media(collection: Any, sample: dict[str, Any]) -> set[str] | None:
    """What the database has in the media fields of a sample of a view, and of the frames that it comes with.

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


def stored_frame_media(dataset: Any, sample: str, stages: list[Any], frames: Any) -> set[str] | None:
    """What the database has in the media fields of the requested frames, and of their sample.

    Args:
        dataset: the dataset.
        sample: the sample's id.
        stages: all stages of the view, as the browser sent them.
        frames: as in the server's response, for their numbers.

    Returns:
        ``None`` if no stage of the view can have changed paths.
    """
    if all(_is_harmless(fost.ViewStage._from_dict(stage)) for stage in stages):
        return None
    return _stored(dataset, ObjectId(sample), frames)


def stored_references(collection: Any, samples: Iterable[dict[str, Any]]) -> dict[Any, Any] | None:
    """The references to recordings that the database has for the samples of a view, by their ids.

    Returns:
        ``None`` if no stage of the view can have changed references.
    """
    if all(_is_harmless(stage) for stage in getattr(collection, "_all_stages", ())):
        return None
    ids = [sample["_id"] for sample in samples]
    found = collection._root_dataset._sample_collection.find({"_id": {"$in": ids}}, {"media_reference": 1})
    return {stored["_id"]: stored.get("media_reference") for stored in found}


def _stored(dataset: Any, key: Any, frames: Iterable[dict[str, Any]]) -> set[str]:
    stored = dataset._sample_collection.find_one({"_id": key})
    found = set(_texts(stored, media_paths(dataset)))
    numbers = [frame.get("frame_number") for frame in frames]
    if numbers and dataset._frame_collection is not None:
        paths = media_paths(dataset, frames=True)
        for frame in dataset._frame_collection.find({"_sample_id": key, "frame_number": {"$in": numbers}}):
            found.update(_texts(frame, paths))
    return found


def _is_harmless(stage: Any) -> bool:
    kind = type(stage)
    if kind.__module__ != _MODULE or kind.__name__ not in _HARMLESS:
        return False
    config = getattr(stage, "config", None)
    return not (isinstance(config, dict) and any(config.get(name) for name in _NAMING_ARGUMENTS))


def _texts(value: Any, paths: set[str], path: str = "") -> Iterator[str]:
    """The texts that a stored document has at some paths."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, paths, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, paths, path)
    elif isinstance(value, str) and path in paths:
        yield value
