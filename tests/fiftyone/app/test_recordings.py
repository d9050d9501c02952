"""Recordings of robots in buckets, in the App: MCAP files and LeRobot datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fiftyone.app.conftest import Gallery
from tests.fiftyone.app.server import AppServer
from tests.fiftyone.app.test_browser import painted
from tests.fiftyone.recordings import lerobot, mcap

RED, GREEN, BLUE = (200, 30, 40), (30, 160, 60), (40, 60, 210)


def test_an_mcap_file_is_shown_by_the_ranges_that_the_browser_asks_for(
    app: AppServer,
    page: Any,
    gallery: Gallery,
    new_dataset: Callable[..., Any],
    imported_fiftyone: Any,
    tmp_path: Path,
) -> None:
    # given a recording in S3 whose camera sees red, most of which the grid does not show
    made = mcap(tmp_path / "drive.mcap", RED, filling=16_000_000)
    uri = gallery.put_file("s3", made, "robots/drive.mcap")
    dataset = new_dataset(imported_fiftyone.Sample(filepath=uri))
    before = app.cached()

    # when its dataset is opened
    page.goto(app.page(dataset))

    # then the camera's picture is there
    painted(page, RED)
    # and parts of the file were read, and nothing was cached.
    asked = [request for request in gallery.asked(uri) if request.method == "GET"]
    parts = {request.headers["range"] for request in asked}
    assert sum(int(end) - int(begin) + 1 for begin, end in (_ends(part) for part in parts)) < 12_000_000
    assert app.cached() == before


def test_episodes_of_lerobot_are_shown(
    app: AppServer, page: Any, gallery: Gallery, s3_environment: dict[str, str], fo: Any, tmp_path: Path
) -> None:
    # given two episodes that share a video in S3
    gallery.put_tree("s3", lerobot(tmp_path / "arm", [GREEN, BLUE]), "robots/arm")
    root = f"{gallery.root('s3')}robots/arm"
    arm = fo.Dataset.from_dir(dataset_dir=root, dataset_type=fo.types.LeRobotDataset, progress=False)
    before = app.cached()

    # when their dataset is opened
    page.goto(app.page(arm))

    # then each shows its own part of the video, and nothing was cached.
    painted(page, GREEN, BLUE, tolerance=30)
    assert app.cached() == before


def _ends(part: str) -> list[str]:
    return part.removeprefix("bytes=").split("-")
