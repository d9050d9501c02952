"""Calls: the Brain, as far as it downloads nothing."""

from __future__ import annotations

import shutil
from typing import Any

from tests.fiftyone.parity import made
from tests.fiftyone.parity.record import Ground, call


def _embeddings(dataset: Any) -> Any:
    import numpy as np

    return np.random.default_rng(0).normal(size=(len(dataset), 8))


@call("compute_exact_duplicates")
def _(ground: Ground) -> Any:
    import fiftyone.brain as fob

    shutil.copy(ground.photos[0], "again.jpg")
    dataset = made.images(ground)
    dataset.add_samples([ground.fo.Sample(filepath="again.jpg"), ground.fo.Sample(filepath="missing.jpg")])
    found = fob.compute_exact_duplicates(dataset)
    return [[dataset[one].filename for one in [first, *rest]] for first, rest in found.items()]


@call("compute_visualization: of given embeddings, and of a model's")
def _(ground: Ground) -> Any:
    import fiftyone.brain as fob

    from tests.fiftyone.parity.own_models import Brightness

    dataset = made.images(ground)
    given = fob.compute_visualization(
        dataset, embeddings=_embeddings(dataset), method="pca", brain_key="given"
    )
    computed = fob.compute_visualization(dataset, model=Brightness(), method="pca")
    return given.points, computed.points, dataset.list_brain_runs()


@call("compute_similarity: by given embeddings, and a model's")
def _(ground: Ground) -> Any:
    import fiftyone.brain as fob

    from tests.fiftyone.parity.own_models import Brightness

    dataset = made.images(ground)
    fob.compute_similarity(dataset, embeddings=_embeddings(dataset), brain_key="given", backend="sklearn")
    fob.compute_similarity(dataset, model=Brightness(), brain_key="computed", backend="sklearn")
    first = dataset.first().id
    return [
        dataset.sort_by_similarity(first, brain_key=key).values("filepath") for key in ("given", "computed")
    ]


@call("compute_near_duplicates: by given embeddings")
def _(ground: Ground) -> Any:
    import fiftyone.brain as fob

    dataset = made.images(ground)
    index = fob.compute_near_duplicates(dataset, embeddings=_embeddings(dataset), threshold=0.9)
    return len(index.unique_ids), len(index.duplicate_ids)


@call("compute_uniqueness: by given embeddings, and a model's")
def _(ground: Ground) -> Any:
    import fiftyone.brain as fob

    from tests.fiftyone.parity.own_models import TorchBrightness

    dataset = made.images(ground)
    fob.compute_uniqueness(dataset, embeddings=_embeddings(dataset))
    given = dataset.values("uniqueness")
    fob.compute_uniqueness(dataset, model=TorchBrightness(), batch_size=2, num_workers=0)
    return given, dataset.values("uniqueness")


@call("compute_leaky_splits: by given embeddings")
def _(ground: Ground) -> Any:
    import fiftyone.brain as fob

    dataset = made.images(ground)
    index = fob.compute_leaky_splits(
        dataset, splits=["train", "test"], embeddings=_embeddings(dataset), threshold=0.5
    )
    return index.leaks_view().values("filepath")
