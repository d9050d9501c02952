"""The workflows that need pixels: each runs by a plan, so that media is fetched ahead of its loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from forebay.fiftyone import hooks, plans
from forebay.fiftyone.collections import foreseen
from forebay.fiftyone.hooks import Wrapper


@hooks.around("fiftyone.core.models", "apply_model", "compute_embeddings", "compute_patch_embeddings")
@hooks.around("fiftyone.utils.annotations", "draw_labeled_images", "draw_labeled_videos")
@hooks.around("fiftyone.brain.internal.core.duplicates", "compute_exact_duplicates")
def read_ahead(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    with foreseen(samples):
        return original(samples, *args, **kwargs)


@hooks.around("fiftyone.utils.utils3d", "compute_orthographic_projection_images")
def read_scenes_ahead(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    with foreseen(samples, include_assets=True):
        return original(samples, *args, **kwargs)


@hooks.around("fiftyone.utils.data.exporters", "export_samples")
def export_samples(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    exporter = kwargs.get("dataset_exporter") or kwargs.get("dataset_type")
    if getattr(exporter, "export_media", True) in (False, "manifest"):
        return original(samples, *args, **kwargs)
    # Only FiftyOne's own format takes along masks and the like as files.
    whole = "FiftyOneDataset" in getattr(exporter, "__name__", type(exporter).__name__)
    with foreseen(samples, None if whole else "filepath", include_assets=True):
        return original(samples, *args, **kwargs)


@hooks.around("fiftyone.brain.internal.core.duplicates", "_compute_filehashes_multi")
def compute_filehashes(original: Wrapper, samples: Any, method: Any, num_workers: int, progress: Any) -> Any:
    """Downloads dominate, and processes would each make their own, without looking ahead."""
    from fiftyone.brain.internal.core import duplicates

    if plans.current() is None:
        return original(samples, method, num_workers, progress)
    return duplicates._compute_filehashes(samples, method, progress)


@hooks.around("fiftyone.core.models", "_make_data_loader", "_make_patch_data_loader")
def make_data_loader(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    loader = original(samples, *args, **kwargs)
    plan = plans.current()
    return loader if plan is None else _DrivenLoader(loader, plan)


class _DrivenLoader:
    """A data loader whose batches tell the plan how far the loop is.

    Its worker processes find what the plan has fetched on the volume; the plan itself lives here.
    """

    def __init__(self, loader: Any, plan: plans.Plan) -> None:
        self._loader = loader
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:
        # The workers are forked before the threads that fetch ahead are started.
        batches = iter(self._loader)
        if self._loader.num_workers:
            self._plan.begin(for_children=True)
        for number, batch in enumerate(batches):
            if self._loader.num_workers:
                self._plan.reach(number * (self._loader.batch_size or 1))
            yield batch

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
