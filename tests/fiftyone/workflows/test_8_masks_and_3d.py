"""Masks, maps and 3D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forebay.fiftyone.media_uris import is_remote
from tests.fiftyone.workflows.table import GROUPS, MASKS, SCENES, works
from tests.fiftyone.workflows.twins import Twins


@works("`get_mask()`, `get_map()`, `has_mask`, `has_map`", MASKS)
def test_masks_on_disk(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        return [
            [
                sample.segmentation.has_mask,
                sample.segmentation.get_mask(),
                sample.heatmap.has_map,
                sample.heatmap.get_map(),
                sample.detections.detections[0].has_mask,
                sample.detections.detections[0].get_mask(),
            ]
            for sample in samples
        ]

    twins.same(run, reads="some")


@works("`export_mask()`, `export_map()`", MASKS)
def test_masks_exported(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        for number, sample in enumerate(samples):
            sample.segmentation.export_mask(str(out / f"mask-{number}.png"))
            sample.heatmap.export_map(str(out / f"map-{number}.png"))
            sample.detections.detections[0].export_mask(str(out / f"instance-{number}.png"))

    twins.same(run, reads="some")


@works("`import_mask()`, `import_map()`", MASKS)
def test_masks_imported(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        for sample in samples.iter_samples(autosave=True):
            sample.segmentation.import_mask()
            sample.heatmap.import_map(update=True)
            sample.detections.detections[0].import_mask(update=True)
        return samples.values(["segmentation.mask", "heatmap.map", "detections.detections.mask"])

    twins.same(run, reads="some")


@works("`transform_mask()`, `to_detections()`, `to_polylines()`", MASKS)
def test_masks_made_into_shapes(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        found = []
        for number, sample in enumerate(samples):
            label = sample.segmentation
            label.transform_mask({0: 0, 1: 2, 2: 1}, outpath=str(out / f"{number}.png"))
            found.append(
                [
                    len(label.to_detections(mask_types="thing").detections),
                    len(sample.detections.detections[0].to_polyline().points),
                ]
            )
        return found

    twins.same(run, reads="some")


@works("`foul.export_segmentations()`, `import_segmentations()`", MASKS)
def test_masks_of_collections(twins: Twins) -> None:
    import fiftyone.utils.labels as foul

    def run(samples: Any, out: Path) -> Any:
        foul.import_segmentations(samples, "segmentation", update=False)
        masks = samples.values("segmentation.mask")
        foul.export_segmentations(samples, "segmentation", str(out))
        return [masks, [Path(path).name for path in samples.values("segmentation.mask_path")]]

    twins.same(run, reads="some")


@works("`evaluate_segmentations()`", MASKS)
def test_evaluation_of_masks(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        samples.clone_sample_field("segmentation", "predicted")
        found = samples.evaluate_segmentations("predicted", "segmentation", eval_key="eval")
        return found.metrics()

    twins.same(run, reads="some")


@works("export of segmentations, `ImageSegmentationDirectory`, and import", MASKS)
def test_export_of_segmentations(twins: Twins) -> None:
    import fiftyone as fo

    kind = fo.types.ImageSegmentationDirectory

    def run(samples: Any, out: Path) -> Any:
        samples.export(export_dir=str(out), dataset_type=kind, label_field="segmentation")
        again = fo.Dataset.from_dir(dataset_dir=str(out), dataset_type=kind, label_field="segmentation")
        return sorted(again.values("segmentation.mask_path"))

    twins.same(run)


@works("`compute_orthographic_projection_images()`", SCENES)
def test_projections(twins: Twins) -> None:
    import fiftyone.utils.utils3d as fou3d

    def run(samples: Any, out: Path) -> Any:
        fou3d.compute_orthographic_projection_images(samples, (32, 32), str(out), skip_failures=False)
        return samples.values("orthographic_projection_metadata.filepath")

    twins.same(run)


@works("`Scene.from_fo3d()`, `get_scene_asset_paths()`", SCENES)
def test_scenes(twins: Twins) -> None:
    import fiftyone as fo
    import fiftyone.utils.utils3d as fou3d

    def run(samples: Any, out: Path) -> Any:
        scenes = samples.values("filepath")
        read = [fo.Scene.from_fo3d(path).as_dict() for path in scenes]
        assets = fou3d.get_scene_asset_paths(scenes, abs_paths=True)
        return [read, [sorted(assets[path]) for path in scenes]]

    _, assets = twins.same(run)
    assert sum(is_remote(path) for scene in assets for path in scene) == 3 * (len(twins.places.names) - 1)


@works("group samples by slice, `get_group()`, `iter_groups()`", GROUPS)
def test_groups(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        return [
            {slice_: Path(sample.local_path).read_bytes() for slice_, sample in group.items()}
            for group in samples.iter_groups()
        ]

    twins.same(run, flat=False)
