"""Metadata and models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fiftyone.workflows.table import CLOUDS, GROUPS, IMAGES, MASKS, SCENES, VIDEOS, works
from tests.fiftyone.workflows.twins import Twins


@works("`compute_metadata()`", IMAGES, GROUPS, VIDEOS, CLOUDS, SCENES)
def test_metadata(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        samples.compute_metadata(skip_failures=False)
        return samples.values("metadata")

    twins.same(run, reads="some")


@works("`apply_model()`, one by one", IMAGES, GROUPS)
def test_apply_model(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(models.Plain(), label_field="guess", skip_failures=False)
        return samples.values("guess.label")

    twins.same(run)


@works("`apply_model()`, batches", IMAGES, GROUPS)
def test_apply_model_in_batches(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(models.Plain(), label_field="guess", batch_size=4, skip_failures=False)
        return samples.values("guess.label")

    twins.same(run)


@works("`apply_model()`, model with `SamplesMixin`", IMAGES, GROUPS, MASKS)
def test_apply_model_that_needs_samples(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        needed = {"mask": "segmentation"} if twins.kind == MASKS else {}
        for batch_size in (None, 5):
            samples.apply_model(
                models.WithSamples(),
                label_field=f"guess_{batch_size}",
                batch_size=batch_size,
                skip_failures=False,
                needs_fields=needed,
            )
        return samples.values(["guess_None.label", "guess_5.label"])

    one_by_one, batched = twins.same(run)
    assert one_by_one == batched


@works("`apply_model()` that writes masks, `output_dir=`", IMAGES, GROUPS)
def test_apply_model_that_writes_masks(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(models.Segmenting(), "mask", output_dir=str(out), skip_failures=False)
        return samples.values("mask.mask_path")

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@works("`apply_model()`, PyTorch model", IMAGES, GROUPS)
def test_apply_model_over_a_data_loader(twins: Twins, num_workers: int) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(
            models.OverLoader(), "guess", batch_size=5, num_workers=num_workers, skip_failures=False
        )
        return samples.values("guess.label")

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@works("`apply_model()`, model with `SupportsGetItem`", IMAGES, GROUPS)
def test_apply_model_that_gets_items(twins: Twins, num_workers: int) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(
            models.Getting(), "guess", batch_size=5, num_workers=num_workers, skip_failures=False
        )
        return samples.values("guess.label")

    twins.same(run)


@pytest.mark.parametrize("batch_size", [None, 3])
@works("`apply_model()`, image model on frames", VIDEOS)
def test_apply_model_to_frames(twins: Twins, batch_size: int | None) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(models.Plain(), "frames.guess", batch_size=batch_size, skip_failures=False)
        return samples.values("frames.guess.label")

    twins.same(run)


@works("`apply_model()`, video model", VIDEOS)
def test_apply_video_model(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.apply_model(models.OfVideos(), "guess", skip_failures=False)
        return samples.values("guess.label")

    twins.same(run)


@works("`apply_model()` on clips", VIDEOS)
def test_apply_model_to_clips(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        clips = samples.to_clips("events")
        clips.apply_model(models.OfVideos(), "guess", skip_failures=False)
        return clips.values("guess.label")

    twins.same(run)


@pytest.mark.parametrize("batch_size", [None, 5])
@works("`compute_embeddings()`", IMAGES, GROUPS)
def test_embeddings(twins: Twins, batch_size: int | None) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.compute_embeddings(models.Plain(), "embedding", batch_size=batch_size, skip_failures=False)
        return samples.values("embedding")

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("model", ["OverLoader", "Getting"])
@works("`compute_embeddings()`, PyTorch model", IMAGES, GROUPS)
def test_embeddings_over_a_data_loader(twins: Twins, num_workers: int, model: str) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        made = getattr(models, model)()
        return samples.compute_embeddings(made, batch_size=5, num_workers=num_workers, skip_failures=False)

    twins.same(run)


@pytest.mark.parametrize("model", ["Plain", "OfVideos"])
@works("`compute_embeddings()`, of videos and of their frames", VIDEOS)
def test_embeddings_of_videos(twins: Twins, model: str) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        found = samples.compute_embeddings(getattr(models, model)(), skip_failures=False)
        return list(found.values()) if isinstance(found, dict) else found

    twins.same(run)


@works("`compute_patch_embeddings()`", IMAGES, GROUPS, VIDEOS)
def test_patch_embeddings(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        field = "frames.ground_truth" if twins.kind == VIDEOS else "ground_truth"
        found = samples.compute_patch_embeddings(models.Plain(), field, skip_failures=False)
        return [list(each.values()) if isinstance(each, dict) else each for each in found.values()]

    twins.same(run)


@pytest.mark.parametrize("num_workers", [0, 2])
@works("`compute_patch_embeddings()`, PyTorch model", IMAGES, GROUPS)
def test_patch_embeddings_over_a_data_loader(twins: Twins, num_workers: int) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        found = samples.compute_patch_embeddings(
            models.OverLoader(), "ground_truth", num_workers=num_workers, skip_failures=False
        )
        return list(found.values())

    twins.same(run)
