"""Brain and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fiftyone.workflows.table import CLOUDS, GROUPS, IMAGES, SCENES, VIDEOS, works
from tests.fiftyone.workflows.twins import Twins


@works("`compute_visualization()`", IMAGES, GROUPS, VIDEOS)
def test_visualization(twins: Twins) -> None:
    import fiftyone.brain as fob

    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        results = fob.compute_visualization(
            samples, model=models.of(twins.kind), method="pca", num_dims=2, skip_failures=False
        )
        return results.points.round(6)

    twins.same(run)


@works("`compute_similarity()`", IMAGES, GROUPS, VIDEOS)
def test_similarity(twins: Twins) -> None:
    import fiftyone.brain as fob

    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        index = fob.compute_similarity(
            samples, model=models.of(twins.kind), brain_key="similar", backend="sklearn", skip_failures=False
        )
        nearest = samples.sort_by_similarity(samples.first().id, k=5, brain_key="similar")
        return [index.total_index_size, nearest.values("filepath")]

    twins.same(run)


@works("`compute_similarity()` of patches", IMAGES, GROUPS)
def test_similarity_of_patches(twins: Twins) -> None:
    import fiftyone.brain as fob

    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        index = fob.compute_similarity(
            samples,
            patches_field="ground_truth",
            model=models.Plain(),
            brain_key="similar",
            backend="sklearn",
            skip_failures=False,
        )
        return index.compute_embeddings(samples)[0]

    twins.same(run)


@pytest.mark.parametrize("num_workers", [1, 2])
@works("`compute_exact_duplicates()`", IMAGES, GROUPS, VIDEOS, CLOUDS, SCENES)
def test_exact_duplicates(twins: Twins, num_workers: int) -> None:
    import fiftyone.brain as fob

    twins.repeat_the_first()

    def run(samples: Any, out: Path) -> Any:
        paths = dict(zip(*samples.values(["id", "filepath"]), strict=True))
        found = fob.compute_exact_duplicates(samples, num_workers=num_workers)
        # Which of them counts as the duplicate depends on whose hash comes first.
        return [
            sorted(twins.told([paths[key], *(paths[o] for o in others)])) for key, others in found.items()
        ]

    [duplicates] = twins.same(run)
    assert len(duplicates) == 2


@works("`compute_near_duplicates()`", IMAGES, GROUPS, VIDEOS)
def test_near_duplicates(twins: Twins) -> None:
    import fiftyone.brain as fob

    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        index = fob.compute_near_duplicates(samples, model=models.of(twins.kind), threshold=20.0)
        return [sorted(map(len, index.neighbors_map.values()))]

    twins.same(run)


@works("`compute_uniqueness()`", IMAGES, GROUPS, VIDEOS)
def test_uniqueness(twins: Twins) -> None:
    import fiftyone.brain as fob

    from tests.fiftyone.workflows import models

    # Of four videos alone, Brain would make numbers that are none.
    twins.repeat_the_first()

    def run(samples: Any, out: Path) -> Any:
        fob.compute_uniqueness(samples, model=models.of(twins.kind))
        return samples.values("uniqueness")

    twins.same(run)


@works("`compute_hardness()`, `compute_mistakenness()`", IMAGES, GROUPS)
def test_labels_of_models(twins: Twins) -> None:
    import fiftyone as fo
    import fiftyone.brain as fob

    def run(samples: Any, out: Path) -> Any:
        samples.set_values(
            "guess",
            [
                fo.Classification(label=f"kind-{i % 3 % 2}", confidence=0.9 - i / 100, logits=[i / 20, 1.0])
                for i in range(len(samples))
            ],
        )
        fob.compute_hardness(samples, "guess")
        fob.compute_mistakenness(samples, "guess", label_field="kind")
        return samples.values(["hardness", "mistakenness"])

    twins.same(run, reads="none")


@works("`evaluate_detections()`, `evaluate_classifications()`", IMAGES, GROUPS)
def test_evaluation(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        found = samples.evaluate_detections("predictions", "ground_truth", eval_key="eval", classwise=False)
        return [found.report(), samples.values("eval_tp")]

    twins.same(run, reads="none")
