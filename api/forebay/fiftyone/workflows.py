"""FiftyOne's workflows that read pixels, each with its media fetched ahead of its loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from forebay.fiftyone import active_plans, hooks
from forebay.fiftyone.deferred import fod
from forebay.fiftyone.hooks import Wrapper
from forebay.fiftyone.read_ahead import read_ahead
from forebay.fiftyone.read_plan import ReadPlan


@hooks.around("fiftyone.core.models", "apply_model", "compute_embeddings", "compute_patch_embeddings")
@hooks.around("fiftyone.utils.annotations", "draw_labeled_images", "draw_labeled_videos")
@hooks.around("fiftyone.brain.internal.core.duplicates", "compute_exact_duplicates")
def run_workflow(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    with read_ahead(samples):
        return original(samples, *args, **kwargs)


@hooks.around("fiftyone.utils.utils3d", "compute_orthographic_projection_images")
def run_scene_workflow(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    with read_ahead(samples, include_assets=True):
        return original(samples, *args, **kwargs)


@hooks.around("fiftyone.utils.data.exporters", "export_samples")
def export_samples(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    exporter = kwargs.get("dataset_exporter") or kwargs.get("dataset_type")
    if getattr(exporter, "export_media", True) in (False, "manifest"):
        return original(samples, *args, **kwargs)
    # Only FiftyOne's own format exports the media of other fields, such as masks, as files.
    has_all_fields = "FiftyOneDataset" in getattr(exporter, "__name__", type(exporter).__name__)
    with read_ahead(samples, None if has_all_fields else "filepath", include_assets=True):
        return original(samples, *args, **kwargs)


@hooks.around("fiftyone.brain.internal.core.duplicates", "_compute_filehashes_multi")
def compute_filehashes(original: Wrapper, samples: Any, method: Any, num_workers: int, progress: Any) -> Any:
    """Hashes in this process, because worker processes would download each for itself, not ahead."""
    if active_plans.current() is None:
        return original(samples, method, num_workers, progress)
    return fod._compute_filehashes(samples, method, progress)


@hooks.around("fiftyone.core.models", "_make_data_loader", "_make_patch_data_loader")
def make_data_loader(original: Wrapper, samples: Any, *args: Any, **kwargs: Any) -> Any:
    loader = original(samples, *args, **kwargs)
    plan = active_plans.current()
    return loader if plan is None else _StepReportingLoader(loader, plan)


class _StepReportingLoader:
    """A data loader that tells the read plan which batch the loop has reached.

    The loader's worker processes read what the plan has fetched to the volume; the plan is in this process.
    """

    def __init__(self, loader: Any, plan: ReadPlan) -> None:
        self._loader = loader
        self._plan = plan

    def __iter__(self) -> Iterator[Any]:
        # Worker processes are forked here, so before the plan starts its threads.
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
