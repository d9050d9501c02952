"""Calls: exports, and what is imported from them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call

_OF_IMAGES = {
    "FiftyOneDataset": None,
    "LegacyFiftyOneDataset": None,
    "ImageDirectory": None,
    "MediaDirectory": None,
    "ImageClassificationDirectoryTree": "ground_truth",
    "FiftyOneImageClassificationDataset": "ground_truth",
    "FiftyOneImageDetectionDataset": "detections",
    "COCODetectionDataset": "detections",
    "VOCDetectionDataset": "detections",
    "KITTIDetectionDataset": "detections",
    "YOLOv4Dataset": "detections",
    "YOLOv5Dataset": "detections",
    "CVATImageDataset": "detections",
    "BDDDataset": "detections",
    "ImageSegmentationDirectory": "segmentation",
    "GeoJSONDataset": None,
    "CSVDataset": None,
}
_OF_VIDEOS = {
    "FiftyOneDataset": None,
    "VideoDirectory": None,
    "VideoClassificationDirectoryTree": "ground_truth",
    "FiftyOneTemporalDetectionDataset": "events",
    "CVATVideoDataset": "frames.detections",
}
_MODES: dict[str, Any] = {
    "moved": "move",
    "linked": "symlink",
    "in a manifest": "manifest",
    "left": False,
}
# By the kind of dataset, the modes that it does not have.
_WITH_MODES: dict[str, tuple[Any, ...]] = {
    "FiftyOneDataset": ("manifest",),
    "COCODetectionDataset": (),
    "YOLOv5Dataset": ("manifest",),
    "CSVDataset": (),
    "ImageDirectory": ("manifest", False),
}


def _again(
    kind: str, field: str | None, begin: Callable[[Ground], Any], **options: Any
) -> Callable[[Ground], Any]:
    def export(ground: Ground) -> Any:
        fo, dataset = ground.fo, begin(ground)
        arguments = {"dataset_type": getattr(fo.types, kind)}
        fields = {} if field is None else {"label_field": field}
        dataset.export(export_dir="exported", **arguments, **fields, **options)
        return dataset, fo.Dataset.from_dir("exported", **arguments)

    return export


for _kind, _field in _OF_IMAGES.items():
    call(f"{_kind}: exported and imported")(_again(_kind, _field, made.images))
for _kind, _field in _OF_VIDEOS.items():
    call(f"{_kind} of videos: exported and imported", video=True)(_again(_kind, _field, made.videos))


def _exported(kind: str, mode: Any) -> Callable[[Ground], Any]:
    def export(ground: Ground) -> Any:
        fields = {} if _OF_IMAGES[kind] is None else {"label_field": _OF_IMAGES[kind]}
        dataset, of_kind = made.images(ground), getattr(ground.fo.types, kind)
        dataset.export(export_dir="exported", dataset_type=of_kind, export_media=mode, **fields)
        return dataset

    return export


for _kind, _without in _WITH_MODES.items():
    for _how, _mode in _MODES.items():
        call(f"{_kind}: exported with its media {_how}", fails=_mode in _without)(_exported(_kind, _mode))


@call("FiftyOneDataset: exported without its media, and imported from where they are")
def _(ground: Ground) -> Any:
    fo, dataset = ground.fo, made.images(ground)
    kind = fo.types.FiftyOneDataset
    dataset.export(export_dir="exported", dataset_type=kind, export_media=False, rel_dir=str(ground.data))
    return fo.Dataset.from_dir("exported", dataset_type=kind, rel_dir="data")


@call("FiftyOneDataset: in batches, with directories, absolute paths")
def _(ground: Ground) -> Any:
    kind = ground.fo.types.FiftyOneDataset
    dataset = made.images(ground)
    dataset.export(
        export_dir="exported", dataset_type=kind, use_dirs=True, abs_paths=True, rel_dir=str(ground.data)
    )
    return ground.fo.Dataset.from_dir("exported", dataset_type=kind)


@call("FiftyOneDataset: as an archive")
def _(ground: Ground) -> Any:
    kind = ground.fo.types.FiftyOneDataset
    made.images(ground).export(export_dir="exported.zip", dataset_type=kind)
    return ground.fo.Dataset.from_archive("exported.zip", dataset_type=kind)


@call("FiftyOneDataset: of groups")
def _(ground: Ground) -> Any:
    return _again("FiftyOneDataset", None, made.groups)(ground)


@call("FiftyOneDataset: of scenes, with their assets")
def _(ground: Ground) -> Any:
    return _again("FiftyOneDataset", None, made.scenes)(ground)


@call("MediaDirectory: of scenes, with their assets")
def _(ground: Ground) -> Any:
    dataset = made.scenes(ground)
    dataset.export(export_dir="exported", dataset_type=ground.fo.types.MediaDirectory)
    return dataset


@call("FiftyOneDataset: of point clouds")
def _(ground: Ground) -> Any:
    return _again("FiftyOneDataset", None, made.clouds)(ground)


@call("FiftyOneDataset: of videos, linked", video=True)
def _(ground: Ground) -> Any:
    return _again("FiftyOneDataset", None, made.videos, export_media="symlink")(ground)


@call("COCODetectionDataset: labels alone, and imported beside the media")
def _(ground: Ground) -> Any:
    fo = ground.fo
    kind = fo.types.COCODetectionDataset
    made.images(ground).export(
        labels_path="labels.json", dataset_type=kind, label_field="detections", abs_paths=True
    )
    return fo.Dataset.from_dir(data_path="data/photos", labels_path="labels.json", dataset_type=kind)


@call("YOLOv4Dataset: the media to one place, the labels to another")
def _(ground: Ground) -> Any:
    fo = ground.fo
    kind = fo.types.YOLOv4Dataset
    made.images(ground).export(
        data_path="media", labels_path=str(ground.dir / "labels"), dataset_type=kind, label_field="detections"
    )
    return fo.Dataset.from_dir(data_path="media", labels_path="labels", dataset_type=kind)


@call("CSVDataset: with fields of one's own")
def _(ground: Ground) -> Any:
    kind = ground.fo.types.CSVDataset
    fields = ["filepath", "number", "ground_truth.label"]
    made.images(ground).export(
        labels_path="labels.csv", dataset_type=kind, fields=fields, abs_paths=True, export_media=False
    )
    return ground.fo.Dataset.from_dir(
        dataset_type=kind, labels_path="labels.csv", fields=["filepath", "number"], media_field="filepath"
    )


@call("ImageClassificationDirectoryTree: of patches")
def _(ground: Ground) -> Any:
    kind = ground.fo.types.ImageClassificationDirectoryTree
    made.images(ground).export(export_dir="patches", dataset_type=kind, label_field="detections")
    return ground.fo.Dataset.from_dir("patches", dataset_type=kind)


@call("ImageDirectory: photographs in another format")
def _(ground: Ground) -> Any:
    made.images(ground).export(
        export_dir="exported", dataset_type=ground.fo.types.ImageDirectory, image_format=".png"
    )


@call("exported twice: without overwrite, then with it")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    kind = ground.fo.types.ImageDirectory
    for overwrite in (False, False, True):
        dataset.export(export_dir="exported", dataset_type=kind, overwrite=overwrite)


@call("exported although a file is missing", fails=True)
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.add_sample(ground.fo.Sample(filepath="missing.jpg"))
    dataset.export(export_dir="exported", dataset_type=ground.fo.types.ImageDirectory)


@call("imported from nowhere", fails=True)
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_dir("nowhere", dataset_type=ground.fo.types.FiftyOneDataset)
