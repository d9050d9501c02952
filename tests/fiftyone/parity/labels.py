"""Calls: masks and heatmaps, in the database and on disk."""

from __future__ import annotations

from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call


@call("Segmentation: its mask, imported, exported, and imported with update")
def _(ground: Ground) -> Any:
    label = made.images(ground).first().segmentation
    mask = label.get_mask()
    label.import_mask()
    inside = label.mask
    label.export_mask("exported/mask.png")
    without = label.mask
    label.import_mask(update=True)
    return mask, inside, without, label


@call("Segmentation: a relative path")
def _(ground: Ground) -> Any:
    label = ground.fo.Segmentation(mask_path="data/masks/mask-0.png")
    return label.get_mask(), label.has_mask, label.mask_path


@call("Segmentation: a mask that is missing", fails=True)
def _(ground: Ground) -> Any:
    return ground.fo.Segmentation(mask_path="missing.png").get_mask()


@call("Segmentation: transformed")
def _(ground: Ground) -> Any:
    label = made.images(ground).first().segmentation
    inside = label.transform_mask({1: 10, 2: 20})
    label.transform_mask({1: 10, 2: 20}, outpath="exported/mask.png", update=True)
    return inside, label, label.get_mask()


@call("Heatmap: its map, imported and exported")
def _(ground: Ground) -> Any:
    label = made.images(ground).first().heatmap
    values = label.get_map()
    label.import_map()
    label.export_map("exported/map.png")
    return values, label


@call("Detection: a mask on disk")
def _(ground: Ground) -> Any:
    box = [0.1, 0.2, 0.5, 0.5]
    label = ground.fo.Detection(label="x", bounding_box=box, mask_path="data/masks/mask-1.png")
    mask = label.get_mask()
    label.export_mask("exported/mask.png", update=True)
    return mask, label, label.to_polyline(), label.to_segmentation(frame_size=(64, 48))


@call("export_segmentations and import_segmentations")
def _(ground: Ground) -> Any:
    import fiftyone.utils.labels as foul

    dataset = made.images(ground)
    foul.import_segmentations(dataset, "segmentation", update=True)
    inside = dataset.first().segmentation.mask
    foul.export_segmentations(dataset, "segmentation", "exported", rel_dir=str(ground.data))
    return inside, dataset.values("segmentation.mask_path")


@call("objects_to_segmentations, on disk")
def _(ground: Ground) -> Any:
    import fiftyone.utils.labels as foul

    dataset = made.images(ground)
    foul.objects_to_segmentations(dataset, "polylines", "drawn", output_dir="exported")
    return dataset.values("drawn.mask_path")


@call("transform_segmentations, on disk")
def _(ground: Ground) -> Any:
    import fiftyone.utils.labels as foul

    dataset = made.images(ground)
    targets = {0: 5, 1: 6, 2: 7}
    foul.transform_segmentations(dataset, "segmentation", targets, output_dir="exported")
    return dataset.values("segmentation.mask_path"), dataset.first().segmentation.get_mask()


@call("segmentations_to_detections and segmentations_to_polylines, of masks on disk")
def _(ground: Ground) -> Any:
    import fiftyone.utils.labels as foul

    dataset = made.images(ground)
    targets = {1: "one", 2: "two"}
    foul.segmentations_to_detections(dataset, "segmentation", "boxes", mask_targets=targets, output_dir="out")
    foul.segmentations_to_polylines(dataset, "segmentation", "lines", mask_targets=targets)
    return dataset.count("boxes.detections"), dataset.count("lines.polylines"), dataset.first().boxes


@call("evaluate_segmentations, of masks on disk")
def _(ground: Ground) -> Any:
    dataset = made.images(ground)
    dataset.add_sample_field(
        "other", ground.fo.EmbeddedDocumentField, embedded_doc_type=ground.fo.Segmentation
    )
    dataset.set_values("other", dataset.values("segmentation"))
    return dataset.evaluate_segmentations("other", gt_field="segmentation").metrics()
