"""Export and import."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.fiftyone.media_uris import is_remote
from tests.fiftyone.workflows.table import CLOUDS, GROUPS, IMAGES, MASKS, SCENES, VIDEOS, works
from tests.fiftyone.workflows.twins import Twins, every_slice

IMAGE_FORMATS: dict[str, dict[str, Any]] = {
    "ImageDirectory": {},
    "ImageClassificationDirectoryTree": {"label_field": "kind"},
    "FiftyOneImageClassificationDataset": {"label_field": "kind"},
    "FiftyOneImageDetectionDataset": {"label_field": "ground_truth"},
    "COCODetectionDataset": {"label_field": "ground_truth"},
    "VOCDetectionDataset": {"label_field": "ground_truth"},
    "KITTIDetectionDataset": {"label_field": "ground_truth"},
    "YOLOv4Dataset": {"label_field": "ground_truth"},
    "YOLOv5Dataset": {"label_field": "ground_truth"},
    "CVATImageDataset": {"label_field": "ground_truth"},
    "BDDDataset": {"label_field": "ground_truth"},
    "CSVDataset": {"fields": {"filepath": "filepath", "kind.label": "kind"}},
    "GeoJSONDataset": {},
}
VIDEO_FORMATS: dict[str, dict[str, Any]] = {
    "VideoDirectory": {},
    "VideoClassificationDirectoryTree": {"label_field": "kind"},
    "FiftyOneVideoLabelsDataset": {"frame_labels_field": "ground_truth"},
    "FiftyOneTemporalDetectionDataset": {"label_field": "events"},
    "CVATVideoDataset": {"frame_labels_field": "ground_truth"},
    "CSVDataset": {"fields": {"filepath": "filepath", "kind.label": "kind"}},
}


def type_of(name: str) -> Any:
    import fiftyone as fo

    return getattr(fo.types, name)


def exported(samples: Any, out: Path, name: str, **options: Any) -> None:
    formats = VIDEO_FORMATS if samples.media_type == "video" else IMAGE_FORMATS
    samples.export(export_dir=str(out), dataset_type=type_of(name), **(formats.get(name, {}) | options))


def imported(out: Path, name: str, **options: Any) -> list[Any]:
    import fiftyone as fo

    dataset = fo.Dataset.from_dir(dataset_dir=str(out), dataset_type=type_of(name), **options)
    return sorted(every_slice(dataset).values("filepath"), key=lambda path: path.rsplit("/", 2)[-2:])


def each(formats: dict[str, Any]) -> Callable[..., Any]:
    return pytest.mark.parametrize("name", list(formats))


@each(IMAGE_FORMATS)
@works("export of media and labels to every format, and import", IMAGES)
def test_export_and_import_of_images(twins: Twins, name: str) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, name)
        return imported(out, name)

    paths = twins.same(run)
    assert len(paths) == 12
    assert not any(map(is_remote, paths))


@each(VIDEO_FORMATS)
@works("export of media and labels to every format, and import", VIDEOS)
def test_export_and_import_of_videos(twins: Twins, name: str) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, name)
        return imported(out, name)

    paths = twins.same(run)
    assert len(paths) == len(twins.places.names)
    assert not any(map(is_remote, paths))


@works("export to a directory of media", CLOUDS, SCENES)
def test_export_of_media(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, "MediaDirectory")

    twins.same(run)
    names = [path.name for path in (twins.directory / "remote").rglob("*") if path.is_file()]
    assert len(names) == len(twins.places.names) * (4 if twins.kind == SCENES else 1)


@works("`FiftyOneDataset`, with media", IMAGES, GROUPS, MASKS, VIDEOS, CLOUDS, SCENES)
def test_whole_dataset(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, "FiftyOneDataset")
        (out / "metadata.json").unlink()
        return []

    twins.same(run, flat=False)


@works("`FiftyOneDataset`, imported again", IMAGES, GROUPS, MASKS, VIDEOS, CLOUDS, SCENES)
def test_whole_dataset_imported(twins: Twins) -> None:
    import fiftyone as fo

    exported(twins.remote, twins.directory, "FiftyOneDataset")

    again = fo.Dataset.from_dir(dataset_dir=str(twins.directory), dataset_type=fo.types.FiftyOneDataset)

    for name in ("filepath", "segmentation.mask_path", "heatmap.map_path", "detections.detections.mask_path"):
        if not again.has_field(name.partition(".")[0]):
            continue
        before, after = (flat(every_slice(dataset).values(name)) for dataset in (twins.remote, again))
        assert len(before) == len(after)
        for path, copy in zip(before, after, strict=True):
            assert Path(copy).read_bytes() == twins.places.contents[path] or copy.endswith(".fo3d")


def flat(values: Any) -> list[Any]:
    return [path for value in values for path in flat(value)] if isinstance(values, list) else [values]


@works(
    "`FiftyOneDataset` with `export_media=False`: paths stay URIs",
    IMAGES,
    GROUPS,
    MASKS,
    VIDEOS,
    CLOUDS,
    SCENES,
)
def test_whole_dataset_without_media(twins: Twins) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, "FiftyOneDataset", export_media=False)
        again = fo.Dataset.from_dir(dataset_dir=str(out), dataset_type=fo.types.FiftyOneDataset)
        (out / "metadata.json").unlink()
        fields = [name for name in ("segmentation.mask_path", "heatmap.map_path") if samples.has_field(name)]
        return every_slice(again).values(["filepath", *fields])

    filepaths, *_ = twins.same(run, reads="none", flat=False)
    assert filepaths == every_slice(twins.remote).values("filepath")


@works('`export_media="move"`: what is remote is copied', IMAGES, GROUPS, VIDEOS, CLOUDS, SCENES)
def test_move(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, "MediaDirectory", export_media="move")

    twins.same(run)


@works('`export_media="symlink"`: what is remote is copied', IMAGES, GROUPS, VIDEOS, CLOUDS, SCENES)
def test_symlink(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, "MediaDirectory", export_media="symlink")

    twins.same(run)
    files = [path for path in (twins.directory / "remote").rglob("*") if path.is_file()]
    assert any(path.is_symlink() for path in files), "local media are linked, as ever"
    cached = twins.cache.engine.files.layout().cache_dir
    assert not any(str(path.resolve()).startswith(cached) for path in files)


@pytest.mark.parametrize(
    "name",
    ["FiftyOneImageDetectionDataset", "COCODetectionDataset", "VOCDetectionDataset", "CVATImageDataset"],
)
@works('`export_media="manifest"`, and import: paths stay URIs', IMAGES)
def test_manifest_of_images(twins: Twins, name: str) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, name, export_media="manifest", data_path="data.json")
        return imported(out, name, data_path="data.json")

    found = twins.same(run, reads="none")
    assert {path for path in found if is_remote(path)} < set(twins.remote.values("filepath"))


@pytest.mark.parametrize("name", ["FiftyOneTemporalDetectionDataset", "CVATVideoDataset"])
@works('`export_media="manifest"`, and import: paths stay URIs', VIDEOS)
def test_manifest_of_videos(twins: Twins, name: str) -> None:
    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, name, export_media="manifest", data_path="data.json")
        return imported(out, name, data_path="data.json")

    assert sorted(twins.same(run, reads="none")) == sorted(twins.remote.values("filepath"))


@pytest.mark.parametrize(
    "name",
    [
        "FiftyOneImageClassificationDataset",
        "FiftyOneImageDetectionDataset",
        "COCODetectionDataset",
        "CVATImageDataset",
        "BDDDataset",
        "CSVDataset",
        "GeoJSONDataset",
    ],
)
@works("labels alone, with `abs_paths=True`, and import: paths stay URIs", IMAGES)
def test_labels_of_images(twins: Twins, name: str) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, name, export_media=False, abs_paths=True)
        [labels] = out.iterdir()
        again = fo.Dataset.from_dir(dataset_type=type_of(name), labels_path=str(labels))
        return sorted(again.values("filepath"), key=twins.told)

    assert sorted(twins.same(run, reads="none")) == sorted(twins.remote.values("filepath"))


@pytest.mark.parametrize("name", ["FiftyOneTemporalDetectionDataset", "CSVDataset"])
@works("labels alone, with `abs_paths=True`, and import: paths stay URIs", VIDEOS)
def test_labels_of_videos(twins: Twins, name: str) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        exported(samples, out, name, export_media=False, abs_paths=True)
        [labels] = out.iterdir()
        again = fo.Dataset.from_dir(dataset_type=type_of(name), labels_path=str(labels))
        return sorted(again.values("filepath"), key=twins.told)

    assert sorted(twins.same(run, reads="none")) == sorted(twins.remote.values("filepath"))


@works("`rel_dir=`, remote or local", IMAGES, GROUPS)
def test_rel_dir(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        for place, root, view in twins.by_place(samples):
            exported(view, out / place, "ImageDirectory", rel_dir=root)
            labels = {"label_field": "ground_truth", "export_media": False}
            exported(view, out / f"{place}-labels", "COCODetectionDataset", rel_dir=root, **labels)
        return []

    twins.same(run)
    assert len(list((twins.directory / "remote" / "s3").glob("*/000?.jpg"))) == 3


@works("export of URLs with a query string", IMAGES)
def test_signed_urls(twins: Twins, fo: Any) -> None:
    body = next(iter(twins.places.contents.values()))
    urls = [
        twins.places.http_server.put(f"/{name}?page={page}", body)
        for name in ("a.jpg", "b.jpg")
        for page in "12"
    ]
    twins.before = twins.listing()
    dataset = fo.Dataset.from_images(urls)

    exported(dataset, twins.directory, "ImageDirectory")

    names = sorted(path.name for path in twins.directory.iterdir())
    assert len(names) == 4
    assert all(re.fullmatch(r"[ab]-q[0-9a-f]+\.jpg", name) for name in names)
    assert all((twins.directory / name).read_bytes() == body for name in names)


@works("`data_path=` is a mapping of names to URIs", IMAGES)
def test_data_path(twins: Twins) -> None:
    import fiftyone as fo

    s3 = twins.places.root("s3")

    def run(samples: Any, out: Path) -> Any:
        root = s3 if samples._root_dataset is twins.remote else f"{twins.root / 's3'}/"
        (_, _, view), *_ = twins.by_place(samples)
        exported(view, out, "COCODetectionDataset", export_media=False, rel_dir=root)
        names = [path.removeprefix(root) for path in view.values("filepath")]
        again = fo.Dataset.from_dir(
            dataset_type=fo.types.COCODetectionDataset,
            data_path={name: root + name for name in names},
            labels_path=str(out / "labels.json"),
        )
        return again.values("filepath")

    assert len(twins.same(run, reads="none")) == 3


@works("`add_yolo_labels()`, `add_coco_labels()`", IMAGES, GROUPS)
def test_labels_added_to_samples(twins: Twins) -> None:
    import fiftyone.utils.coco as fouc
    import fiftyone.utils.yolo as fouy

    def run(samples: Any, out: Path) -> Any:
        labels = [str(out / f"{number}.txt") for number in range(len(samples))]
        for path in labels:
            Path(path).write_text("0 0.5 0.5 0.25 0.25\n")
        by_path = dict(zip(samples.values("filepath"), labels, strict=True))
        fouy.add_yolo_labels(samples, "yolo", by_path, classes=["thing"])
        annotation = {"image_id": 1, "category_id": 1, "bbox": [2, 2, 8, 8], "id": 1}
        samples.set_values("coco_id", list(range(1, len(samples) + 1)))
        fouc.add_coco_labels(samples, "coco", [annotation], [{"id": 1, "name": "thing"}])
        return [
            samples.values("yolo.detections.bounding_box"),
            samples.limit(1).values("coco.detections.bounding_box"),
        ]

    twins.same(run, reads="none")


@works("lists of URIs in YOLO's own files", IMAGES)
def test_yolo_lists_of_uris(twins: Twins, fo: Any) -> None:
    """The labels of each image lie beside it, or in ``labels`` beside its ``images``, as YOLO has it."""
    uris = [
        twins.places.put(place, f"yolo/images/{place}.jpg", next(iter(twins.places.contents.values())))
        for place in twins.places.names
    ]
    for place in twins.places.names:
        for folder in ("images", "labels"):
            twins.places.put(place, f"yolo/{folder}/{place}.txt", b"0 0.5 0.5 0.25 0.25\n")
    twins.before = twins.listing()
    lists, names = twins.directory / "images.txt", twins.directory / "obj.names"
    lists.parent.mkdir()
    lists.write_text("\n".join(uris))
    names.write_text("thing")
    yaml = twins.directory / "dataset.yaml"
    yaml.write_text(f"train: {lists}\nnames: [thing]\n")

    four = fo.Dataset.from_dir(dataset_dir=str(twins.directory), dataset_type=fo.types.YOLOv4Dataset)
    five = fo.Dataset.from_dir(dataset_type=fo.types.YOLOv5Dataset, yaml_path=str(yaml), split="train")

    for dataset in (four, five):
        assert sorted(dataset.values("filepath")) == sorted(uris)
        assert dataset.values("ground_truth.detections.label") == [["thing"]] * len(uris)


@works("`ingest_images()`, `ingest_videos()`: local copies", IMAGES, VIDEOS)
def test_ingestion(twins: Twins) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        dataset = fo.Dataset()
        ingest = dataset.ingest_videos if twins.kind == VIDEOS else dataset.ingest_images
        ingest(samples.values("filepath"), dataset_dir=str(out))
        return dataset.values("filepath")

    assert not any(map(is_remote, twins.same(run)))
