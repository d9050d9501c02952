"""PyTorch datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fiftyone.workflows.table import CLOUDS, GROUPS, IMAGES, MASKS, SCENES, VIDEOS, works
from tests.fiftyone.workflows.twins import Twins


def loaded(dataset: Any, num_workers: int, **options: Any) -> list[Any]:
    """Every item, through a data loader in batches of five."""
    from torch.utils.data import DataLoader

    loader = DataLoader(dataset, batch_size=5, num_workers=num_workers, collate_fn=list, **options)
    return [item for batch in loader for item in batch]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("vectorize", [False, True])
@works("`to_torch()`", IMAGES, GROUPS, VIDEOS, CLOUDS, SCENES)
def test_to_torch(twins: Twins, vectorize: bool, num_workers: int) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        dataset = samples.to_torch(models.Sizes(), vectorize=vectorize)
        return loaded(dataset, num_workers, worker_init_fn=dataset.worker_init if num_workers else None)

    twins.same(run)


@pytest.mark.parametrize("vectorize", [False, True])
@works("`to_torch()`", MASKS)
def test_to_torch_of_masks(twins: Twins, vectorize: bool) -> None:
    from tests.fiftyone.workflows import models

    mapping = {
        "mask": "segmentation.mask_path",
        "map": "heatmap.map_path",
        "instances": "detections.detections.mask_path",
    }

    def run(samples: Any, out: Path) -> Any:
        return loaded(samples.to_torch(models.MaskSizes(field_mapping=mapping), vectorize=vectorize), 0)

    twins.same(run, reads="some")


@works("`to_torch()` of patches", IMAGES, GROUPS)
def test_to_torch_of_patches(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        get = models.Sizes()
        index = "ground_truth.detections.id"
        return loaded(samples.to_torch(get, index_field=index), 0)

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@works("`TorchImageDataset`", IMAGES, GROUPS)
def test_image_dataset(twins: Twins, num_workers: int) -> None:
    import fiftyone.utils.torch as fout

    def run(samples: Any, out: Path) -> Any:
        dataset = fout.TorchImageDataset(samples=samples, use_numpy=True, force_rgb=True)
        return loaded(dataset, num_workers)

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@works("`TorchImageClassificationDataset`", IMAGES, GROUPS)
def test_classification_dataset(twins: Twins, num_workers: int) -> None:
    import fiftyone.utils.torch as fout

    def run(samples: Any, out: Path) -> Any:
        dataset = fout.TorchImageClassificationDataset(samples=samples, targets="kind.label", use_numpy=True)
        return [[img, str(target)] for img, target in loaded(dataset, num_workers)]

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@works("`TorchImagePatchesDataset`", IMAGES, GROUPS)
def test_patches_dataset(twins: Twins, num_workers: int) -> None:
    import fiftyone.utils.torch as fout

    def run(samples: Any, out: Path) -> Any:
        dataset = fout.TorchImagePatchesDataset(
            samples=samples, patches_field="ground_truth", use_numpy=True, ragged_batches=True
        )
        return loaded(dataset, num_workers)

    twins.same(run)
