"""Views of patches, frames and clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forebay.fiftyone.media_uris import is_remote
from tests.fiftyone.workflows.table import GROUPS, IMAGES, VIDEOS, works
from tests.fiftyone.workflows.twins import Twins


@works("`to_patches()`, `to_evaluation_patches()`", IMAGES, GROUPS)
def test_patches(twins: Twins) -> None:
    from tests.fiftyone.workflows import models

    def run(samples: Any, out: Path) -> Any:
        samples.evaluate_detections("predictions", "ground_truth", eval_key="eval")
        patches = samples.to_patches("ground_truth")
        evaluated = samples.to_evaluation_patches("eval")
        embeddings = patches.compute_patch_embeddings(models.Plain(), "ground_truth", skip_failures=False)
        return [patches.values("filepath"), evaluated.values("filepath"), list(embeddings.values())]

    twins.same(run)


@works("export of patches", IMAGES, GROUPS)
def test_export_of_patches(twins: Twins) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        patches = samples.to_patches("ground_truth")
        patches.export(export_dir=str(out), dataset_type=fo.types.ImageClassificationDirectoryTree)

    twins.same(run)


@works("`to_frames()`", VIDEOS)
def test_frames_without_files(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        return samples.to_frames(sample_frames="dynamic").values(["filepath", "frame_number"])

    twins.same(run, reads="none")


@pytest.mark.parametrize("frames", ["all", "at half the rate"])
@works("`to_frames(sample_frames=True, output_dir=…)`", VIDEOS)
def test_frames_in_a_directory(twins: Twins, frames: str) -> None:
    options = {} if frames == "all" else {"fps": 4}

    def run(samples: Any, out: Path) -> Any:
        view = samples.to_frames(sample_frames=True, output_dir=str(out), **options)
        return view.values(["filepath", "frame_number", "ground_truth.detections.label"])

    twins.same(run)


@works("`to_frames(sample_frames=True)`", VIDEOS)
def test_frames_beside_the_videos(twins: Twins) -> None:
    """Beside a remote video is no place: its frames go below FiftyOne's ``default_dataset_dir``."""
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        view = samples.to_frames(sample_frames=True)
        paths = view.values("filepath")
        assert not any(map(is_remote, paths))
        return [Path(path).read_bytes() for path in paths]

    twins.same(run)

    made = twins.remote.to_frames(sample_frames=True).values("filepath")
    frames = 8 * sum(map(is_remote, twins.remote.values("filepath")))
    assert sum(path.startswith(fo.config.default_dataset_dir) for path in made) == frames
    twins.cache.clear()
    again = twins.remote.to_frames(sample_frames=True)
    assert again.values("filepath") == made
    assert twins.cache.stats()["current_count"] == 0, "frames that are there are not sampled again"


@works("`to_frames()` of clips", VIDEOS)
def test_frames_of_clips(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        view = samples.to_clips("events").to_frames(sample_frames=True, output_dir=str(out))
        return view.values(["filepath", "frame_number"])

    twins.same(run)


@works("`to_clips()`", VIDEOS)
def test_clips(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        return samples.to_clips("events").values(["filepath", "support"])

    twins.same(run, reads="none")


@works("export of clips", VIDEOS)
def test_export_of_clips(twins: Twins) -> None:
    import fiftyone as fo

    def run(samples: Any, out: Path) -> Any:
        clips = samples.to_clips("events")
        clips.export(export_dir=str(out), dataset_type=fo.types.VideoClassificationDirectoryTree)

    twins.same(run)
