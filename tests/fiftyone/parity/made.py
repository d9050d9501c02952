"""Datasets of local samples that the calls begin with."""

from __future__ import annotations

from typing import Any

from tests.fiftyone.parity.record import Ground


def images(ground: Ground, *, relative: bool = False) -> Any:
    """Five photographs, with a class, two boxes, a mask, points and a line each."""
    fo = ground.fo
    dataset = fo.Dataset()
    for i, path in enumerate(ground.photos):
        sample = fo.Sample(
            filepath=str(path).replace(f"{ground.dir}/", "") if relative else path,
            tags=["train" if i % 2 else "test"],
            number=i,
            ground_truth=fo.Classification(label="cat" if i % 2 else "dog"),
            location=fo.GeoLocation(point=[-73.9 + i, 40.7]),
            detections=fo.Detections(
                detections=[
                    fo.Detection(label="thing", bounding_box=[0.1, 0.1, 0.4, 0.5], confidence=0.9),
                    fo.Detection(label="other", bounding_box=[0.5, 0.3, 0.4, 0.5], confidence=0.5),
                ]
            ),
            keypoints=fo.Keypoints(keypoints=[fo.Keypoint(label="eye", points=[(0.3, 0.3), (0.6, 0.3)])]),
            polylines=fo.Polylines(
                polylines=[
                    fo.Polyline(label="lane", points=[[(0.1, 0.1), (0.4, 0.2), (0.3, 0.5)]], closed=True)
                ]
            ),
            segmentation=fo.Segmentation(mask_path=str(ground.data / "masks" / f"mask-{i}.png")),
            heatmap=fo.Heatmap(map_path=str(ground.data / "heatmaps" / f"heatmap-{i}.png")),
        )
        dataset.add_sample(sample)
    return dataset


def videos(ground: Ground) -> Any:
    """Two videos, with a class, an event, and a box on two frames of each."""
    fo = ground.fo
    dataset = fo.Dataset()
    for i, path in enumerate(ground.videos):
        sample = fo.Sample(filepath=path, ground_truth=fo.Classification(label=f"class-{i}"))
        sample["events"] = fo.TemporalDetections(
            detections=[fo.TemporalDetection(label="event", support=[2, 5])]
        )
        for number in (1, 3):
            box = fo.Detection(label="thing", bounding_box=[0.1, 0.1, 0.5, 0.5], index=1)
            sample.frames[number] = fo.Frame(detections=fo.Detections(detections=[box]))
        dataset.add_sample(sample)
    return dataset


def groups(ground: Ground) -> Any:
    """Two groups of two photographs."""
    fo = ground.fo
    dataset = fo.Dataset()
    dataset.add_group_field("group", default="left")
    for left, right in (ground.photos[:2], ground.photos[2:4]):
        group = fo.Group()
        dataset.add_sample(fo.Sample(filepath=left, group=group.element("left")))
        dataset.add_sample(fo.Sample(filepath=right, group=group.element("right")))
    return dataset


def scenes(ground: Ground) -> Any:
    """One .fo3d scene."""
    dataset = ground.fo.Dataset()
    dataset.add_sample(ground.fo.Sample(filepath=str(ground.data / "scenes" / "scene.fo3d")))
    return dataset


def clouds(ground: Ground) -> Any:
    """Two point clouds."""
    dataset = ground.fo.Dataset()
    for path in sorted((ground.data / "clouds").iterdir()):
        dataset.add_sample(ground.fo.Sample(filepath=str(path)))
    return dataset
