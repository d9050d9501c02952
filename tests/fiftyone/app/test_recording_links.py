"""The links to the files of recordings in buckets, which the App's server puts into a page of samples."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.fiftyone.app import launch
from tests.fiftyone.places import Places
from tests.fiftyone.recordings import CAMERA, lerobot

GREEN, BLUE = (30, 160, 60), (40, 60, 210)


@pytest.fixture(params=["robots/arm/", ""], ids=["folder", "bucket"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Where a dataset lies in its bucket: in a folder, or in the bucket itself."""
    return str(request.param)


@pytest.fixture
def arm(fo: Any, places: Places, prefix: str, tmp_path: Path) -> Any:
    """A LeRobot dataset of two episodes in S3."""
    made = lerobot(tmp_path / "arm", [GREEN, BLUE])
    for file in filter(Path.is_file, made.rglob("*")):
        places.put_file("s3", file, prefix + file.relative_to(made).as_posix())
    root = f"{places.root('s3')}{prefix}"
    return fo.Dataset.from_dir(dataset_dir=root, dataset_type=fo.types.LeRobotDataset, progress=False)


def test_every_file_of_an_episode_has_a_link(arm: Any) -> None:
    media, links = resolved(arm)

    assert len(media) == 2
    assert {key.partition("/")[2] for key in links} >= {
        "meta/info.json",
        "data/chunk-000/file-000.parquet",
        f"videos/{CAMERA}/chunk-000/file-000.mp4",
    }
    assert all(link.startswith("/.forebay/v1.") for link in links.values())


def test_what_a_stage_of_a_view_names_has_none(arm: Any, places: Places, prefix: str) -> None:
    # given an object beside the video, to which no episode refers
    places.put("s3", prefix + "videos/secret/chunk-000/file-000.mp4", b"secret")
    secret = {"secret": [0, 0, 0.0, 1.0]}

    # when a stage of a view, which the browser sends, refers to it
    view = arm.mongo([{"$set": {"media_reference.videos": secret}}])

    # then nothing of the episode is linked
    assert resolved(view) == ({}, {})
    # but what a harmless stage leaves as it is.
    assert len(resolved(arm.limit(1))[0]) == 1
    assert len(resolved(arm.mongo([{"$set": {"note": "seen"}}]))[0]) == 2


def test_the_launch_tells_where_failures_are_logged(arm: Any, caplog: pytest.LogCaptureFixture) -> None:
    session = SimpleNamespace(dataset=arm)

    assert launch.launch_app(lambda *_: session, arm) is session

    assert "Remote media that the App cannot show, and why: " in caplog.text


def resolved(view: Any) -> tuple[Any, dict[str, str]]:
    """What the server tells the browser of the samples of a view: their files, and the links to these."""
    import fiftyone.server.samples as foss

    nodes = [SimpleNamespace(sample=sample) for sample in view._aggregate()]
    media, located = asyncio.run(foss.resolve_sample_media(view, nodes))
    return media, foss._media_asset_srcs(located)
