"""Drawing and re-encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forebay.fiftyone.media_uris import is_remote
from tests.fiftyone.workflows.table import GROUPS, IMAGES, MASKS, VIDEOS, refused, works
from tests.fiftyone.workflows.twins import Twins, every_slice


@works("`draw_labels()`", IMAGES, GROUPS, MASKS, VIDEOS)
def test_draw_labels(twins: Twins) -> None:
    def run(samples: Any, out: Path) -> Any:
        return samples.draw_labels(str(out), overwrite=True)

    twins.same(run)


@works("`transform_images(output_dir=…)`, `reencode_images(output_dir=…)`", IMAGES, GROUPS)
def test_transform_images(twins: Twins) -> None:
    """Photographs of one name come from several directories: ``rel_dir`` tells them apart."""
    import fiftyone.utils.image as foui

    def run(samples: Any, out: Path) -> Any:
        for place, root, view in twins.by_place(samples):
            options = {"rel_dir": root, "num_workers": 2}
            small, png = str(out / place / "small"), str(out / place / "png")
            foui.transform_images(view, size=(48, 32), output_dir=small, output_field="small", **options)
            foui.reencode_images(view, ext=".png", output_dir=png, output_field="png", **options)
        return samples.values(["small", "png", "filepath"])

    twins.same(run)


@works("`transform_…()`, `reencode_…()` with `delete_originals=True`: remote ones stay", IMAGES, GROUPS)
def test_delete_original_images(twins: Twins, caplog: pytest.LogCaptureFixture) -> None:
    import fiftyone.utils.image as foui

    remote_places = len(twins.places.names) - 1
    for place, root, view in twins.by_place(every_slice(twins.remote)):
        out = str(twins.directory / place)
        foui.transform_images(view, size=(48, 32), output_dir=out, rel_dir=root, delete_originals=True)

    assert len([path for path in twins.directory.rglob("*") if path.is_file()]) == 12
    assert not any(Path(path).exists() for path in twins.places.contents if not is_remote(path))
    assert (
        caplog.messages.count("remote originals are not deleted; fos.delete_files() deletes them")
        == remote_places
    )


@refused(
    "`transform_…()`, `reencode_…()` in place",
    IMAGES,
    GROUPS,
    because="what is remote is never changed in place: pass `output_dir=`",
)
def test_transform_images_in_place(twins: Twins) -> None:
    import fiftyone.utils.image as foui

    with pytest.raises(ValueError, match="is remote and is not changed in place: pass output_dir="):
        foui.transform_images(every_slice(twins.remote), size=(48, 32))

    assert twins.cache.stats()["current_count"] == 0


@works("`transform_videos(output_dir=…)`, `reencode_videos(output_dir=…)`", VIDEOS)
def test_transform_videos(twins: Twins) -> None:
    import fiftyone.utils.video as fouv

    def run(samples: Any, out: Path) -> Any:
        fouv.transform_videos(samples, size=(48, 32), output_dir=str(out / "small"), output_field="small")
        fouv.transform_videos(samples, fps=4, output_dir=str(out / "slow"), output_field="slow")
        fouv.reencode_videos(samples, output_dir=str(out / "mp4"), output_field="mp4")
        return samples.values(["small", "slow", "mp4", "filepath"])

    twins.same(run)


@works("`transform_…()`, `reencode_…()` with `delete_originals=True`: remote ones stay", VIDEOS)
def test_delete_original_videos(twins: Twins) -> None:
    import fiftyone.utils.video as fouv

    fouv.reencode_videos(twins.remote, output_dir=str(twins.directory), delete_originals=True)

    assert len(list(twins.directory.iterdir())) == len(twins.places.names)
    assert not any(Path(path).exists() for path in twins.places.contents if not is_remote(path))


@refused(
    "`transform_…()`, `reencode_…()` in place",
    VIDEOS,
    because="what is remote is never changed in place: pass `output_dir=`",
)
def test_transform_videos_in_place(twins: Twins) -> None:
    import fiftyone.utils.video as fouv

    for in_place in (fouv.reencode_videos, lambda videos: fouv.transform_videos(videos, size=(48, 32))):
        with pytest.raises(ValueError, match="is remote and is not changed in place: pass output_dir="):
            in_place(twins.remote)

    assert twins.cache.stats()["current_count"] == 0


@works("`sample_videos(output_dir=…)`", VIDEOS)
def test_sample_videos(twins: Twins) -> None:
    import fiftyone.utils.video as fouv

    def run(samples: Any, out: Path) -> Any:
        fouv.sample_videos(samples, output_dir=str(out), fps=4, save_filepaths=True)
        return samples.values("frames.filepath", unwind=True)[:1]

    twins.same(run)


@works("`extract_clip()`, `concat_videos()`, `sample_video()`", VIDEOS)
def test_single_videos(twins: Twins) -> None:
    import fiftyone.utils.video as fouv

    def run(samples: Any, out: Path) -> Any:
        paths = samples.values("filepath")
        fouv.extract_clip(paths[0], str(out / "clip.mp4"), support=[2, 5])
        fouv.concat_videos(paths[:2], str(out / "both.mp4"))
        fouv.sample_video(paths[1], str(out / "frames" / "%d.png"), size=(48, 32))
        return fouv.exact_frame_count(paths[2])

    assert twins.same(run, reads="some") == 8
