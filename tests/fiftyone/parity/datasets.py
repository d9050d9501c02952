"""Calls: datasets from files, and what is done to them as a whole."""

from __future__ import annotations

import os
from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call


@call("Dataset.from_images: absolute and relative paths")
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_images([*ground.photos[:2], "data/photos/grey.png"])


@call("Dataset.from_images: odd names")
def _(ground: Ground) -> Any:
    folder = ground.dir / "odd"
    folder.mkdir()
    for name in ("a:b.jpg", "with a space.jpg", "ünïcödé.jpg", "s3:.jpg", "100%.jpg"):
        os.link(ground.photos[0], folder / name)
    dataset = ground.fo.Dataset.from_images([f"odd/{name}" for name in sorted(os.listdir(folder))])
    dataset.compute_metadata()
    return dataset


@call("Dataset.from_images_dir")
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_images_dir("data", recursive=True)


@call("Dataset.from_images_dir: no such directory")
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_images_dir("nowhere")


@call("Dataset.from_images_patt")
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_images_patt("data/photos/*.jpg")


@call("Dataset.from_videos_dir", video=True)
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_videos_dir(str(ground.data / "videos"))


@call("Dataset.from_dir: a directory of media")
def _(ground: Ground) -> Any:
    return ground.fo.Dataset.from_dir("data/photos", dataset_type=ground.fo.types.MediaDirectory)


@call("Dataset.add_images_dir, add_images_patt, add_images")
def _(ground: Ground) -> Any:
    dataset = ground.fo.Dataset()
    dataset.add_images_dir("data/photos", tags="dir")
    dataset.add_images_patt("data/photos/c*.jpg", tags=["pattern"])
    dataset.add_images(["data/photos/grey.png"])
    return dataset


@call("Dataset.ingest_images: copies into a directory")
def _(ground: Ground) -> Any:
    dataset = ground.fo.Dataset()
    dataset.ingest_images(ground.photos, dataset_dir="ingested")
    return dataset


@call("Dataset.merge_samples, by path")
def _(ground: Ground) -> Any:
    dataset, other = made.images(ground), made.images(ground, relative=True)
    other.set_values("number", [10, 11, 12, 13, 14])
    other.add_sample(ground.fo.Sample(filepath="new.jpg"))
    dataset.merge_samples(other)
    return dataset


@call("Dataset.merge_dir")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.merge_dir("data/photos", dataset_type=ground.fo.types.ImageDirectory, tags="merged")
    return dataset


@call("Dataset.clone, delete_samples, and a view that is saved")
def _(ground: Ground) -> Any:
    dataset = made.images(ground).clone()
    dataset.delete_samples(dataset.first())
    dataset.limit(2).set_field("number", 7).save()
    return dataset


@call("stats with media")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    stats = dataset.stats(include_media=True)
    return stats["media_bytes"], stats["media_size"]


@call("stats with media of videos", video=True)
def _(ground: Ground) -> Any:
    return made.videos(ground).stats(include_media=True)["media_bytes"]


@call("groups: slices, views and samples")
def _(ground: Ground) -> Any:
    dataset = made.groups(ground)
    dataset.group_slice = "right"
    group = dataset.get_group(dataset.first().group.id)
    return (
        dataset,
        dataset.values("filepath"),
        dataset.select_group_slices("left"),
        {name: sample.filepath for name, sample in group.items()},
    )


@call("groups: made from a flat dataset")
def _(ground: Ground) -> Any:
    return made.images(ground).group_by("ground_truth.label", order_by="number").values("filepath")
