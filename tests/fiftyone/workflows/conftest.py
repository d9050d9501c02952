"""Twins of every kind: media in all places, and the same on local copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from tests.fiftyone.places import EVERY, Places
from tests.fiftyone.workflows import table
from tests.fiftyone.workflows.twins import Twins, every_slice, localized, strays

_DATASETS = {
    table.IMAGES: "remote_dataset",
    table.GROUPS: "remote_groups",
    table.MASKS: "remote_masks",
    table.VIDEOS: "remote_videos",
    table.CLOUDS: "remote_point_clouds",
    table.SCENES: "remote_scenes",
}


@pytest.fixture
def places(places: Places) -> Places:
    """Each place, Azure among them where it can be: workflows are tried on all at once."""
    if places.azure is not None:
        places.names = (*EVERY, "local")
    return places


@pytest.fixture
def twins(
    request: pytest.FixtureRequest,
    fo: Any,
    places: Places,
    media_cache: MediaCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Twins]:
    """A dataset of the kind that the test names, and its twin.

    Afterwards, everything at the servers must be as it was, and no local directory be called like a URI.
    """
    remote = request.getfixturevalue(_DATASETS[request.param])
    label(fo, remote)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    local = localized(remote, places, tmp_path / "copies")
    twins = Twins(request.param, remote, local, tmp_path / "copies", tmp_path / "out", places, media_cache)
    yield twins
    assert twins.listing() == twins.before
    assert strays(tmp_path) == []


def label(fo: Any, dataset: Any) -> None:
    """Gives every sample a tag, a class, and detections and a place, or events and frames' detections."""

    def detections(number: int) -> Any:
        box = [0.1 + number % 3 / 10, 0.2, 0.4, 0.5]
        return fo.Detections(detections=[fo.Detection(label=f"thing-{number % 2}", bounding_box=box)])

    for number, sample in enumerate(every_slice(dataset).iter_samples(autosave=True)):
        sample.tags = ["even" if number % 2 == 0 else "odd"]
        sample["kind"] = fo.Classification(label=f"kind-{number % 2}")
        if sample.media_type == "image":
            sample["ground_truth"] = detections(number)
            sample["predictions"] = detections(number + number // 2)
            sample["location"] = fo.GeoLocation(point=[number / 10, 50.0])
        elif sample.media_type == "video":
            event = fo.TemporalDetection(label="event", support=[2, 5])
            sample["events"] = fo.TemporalDetections(detections=[event])
            for frame in range(1, 9):
                sample.frames[frame] = fo.Frame(ground_truth=detections(number + frame))
