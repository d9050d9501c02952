"""The ground that the tests of the adapter stand on: FiftyOne, its database, and media everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from forebay.cache import MediaCache
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places


def test_fiftyone_uses_the_database_and_the_files_of_the_tests(fo: Any, database_uri: str) -> None:
    assert fo.config.database_uri == database_uri
    assert fo.config.module_path == ["forebay.fiftyone"]
    assert not fo.config.default_dataset_dir.startswith(os.environ["HOME"])
    assert not Path(os.environ["HOME"], ".fiftyone").exists()
    assert fo.list_datasets() == []


def test_photographs_lie_in_all_places(remote_dataset: Any, places: Places) -> None:
    assert {places.place_of(path) for path in remote_dataset.values("filepath")} == set(places.names)
    for sample in remote_dataset:
        assert Path(sample.local_path).read_bytes() == places.contents[sample.filepath]


def test_each_test_has_a_cache_of_its_own(fo: Any, media_cache: MediaCache, use_cache: UseCache) -> None:
    from forebay.fiftyone import local_media

    assert local_media.media_cache() is media_cache
    assert media_cache.stats()["current_count"] == 0

    small = use_cache(cache_size_bytes=1000)

    assert local_media.media_cache() is small
    assert small.config.limit == 1000


def test_videos(remote_videos: Any, places: Places) -> None:
    assert {places.place_of(path) for path in remote_videos.values("filepath")} == set(places.names)
    assert remote_videos.media_type == "video"


def test_point_clouds(remote_point_clouds: Any) -> None:
    assert remote_point_clouds.media_type == "point-cloud"
    assert len(remote_point_clouds) == 4


def test_scenes(remote_scenes: Any, places: Places, fo: Any) -> None:
    assert remote_scenes.media_type == "3d"
    for sample in remote_scenes:
        scene = fo.Scene.from_fo3d(sample.local_path)
        for asset in scene.get_asset_paths():
            assert f"{sample.filepath.rpartition('/')[0]}/{asset}" in places.contents


def test_masks_and_heatmaps(remote_masks: Any, places: Places) -> None:
    for path in remote_masks.values("segmentation.mask_path") + remote_masks.values("heatmap.map_path"):
        assert path in places.contents


def test_groups(remote_groups: Any) -> None:
    assert remote_groups.media_type == "group"
    assert remote_groups.group_slices == ["left", "right"]
    assert len(remote_groups) == 6
