"""Cloud-backed datasets on open-source FiftyOne: a tutorial whose every chapter runs.

Its samples lie in S3 (``s3://``), in GCS (``gs://``), behind ``http://`` URLs, and in a local
directory, mixed. Everything works on datasets and views alike.
"""

from __future__ import annotations

import inspect
import itertools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import requests
from PIL import Image

from forebay import capacity
from forebay.errors import ConfigError, DownloadError
from tests.fiftyone import media_files
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.places import REMOTE, Places
from tests.fiftyone.since import since
from tests.servers.http_server import HTTPServer

GUIDE = Path(__file__).resolve().parents[3] / "shared" / "cloud-media.rst"
"""The requested behaviour; this file lies beside the repository where Forebay is developed."""

# The guide's snippets, word for word, its CVAT part aside.

THE_WHOLE_CACHE = """\
import fiftyone.core.cache as foc

print(foc.media_cache.stats())
foc.media_cache.clear()
"""

SETTINGS_IN_THE_ENVIRONMENT = """\
export FIFTYONE_MEDIA_CACHE_DIR=/path/for/media-cache
export FIFTYONE_MEDIA_CACHE_SIZE_BYTES=137438953472
export FIFTYONE_MEDIA_CACHE_NUM_WORKERS=16
export FIFTYONE_MEDIA_CACHE_APP_IMAGES=false
"""

SETTINGS_IN_A_FILE = """\
{
"cache_dir": "/path/for/media-cache",
"cache_size_bytes": 137438953472,
"num_workers": 16,
"cache_app_images": false
}
"""


def is_remote(path: str) -> bool:
    return "://" in path


def count(collection: Any, **arguments: Any) -> int:
    """The number of a collection's files that are cached."""
    return int(collection.cache_stats(**arguments)["current_count"])


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def change(places: Places, uri: str, body: bytes) -> None:
    """Puts something else where a URI leads."""
    place = places.place_of(uri)
    places.put(place, unquote(uri.removeprefix(places.root(place))), body)


@pytest.fixture(params=["dataset", "view"])
def samples(request: pytest.FixtureRequest, remote_dataset: Any) -> Any:
    """Twelve photographs, nine of them remote: the dataset, or a view of it in another order."""
    return remote_dataset if request.param == "dataset" else remote_dataset.sort_by("filepath", reverse=True)


# 1. Datasets with cloud filepaths


def test_a_dataset_holds_cloud_filepaths_as_they_are(
    fo: Any, places: Places, photos: dict[str, bytes]
) -> None:
    """Give samples the URIs of their media; nothing is downloaded for that."""
    uris = places.mixed(photos)

    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=uri) for uri in uris])

    assert dataset.values("filepath") == uris
    assert {uri.partition("://")[0] for uri in uris if is_remote(uri)} == set(REMOTE)
    assert dataset.media_type == "image"
    assert count(dataset) == 0


def test_what_made_a_dataset_can_be_asked_for_again(remote_dataset: Any, fo: Any) -> None:
    """Filepaths stay as they are when samples are changed, cloned, and loaded again."""
    first = remote_dataset.first()
    uri = first.filepath

    first["note"] = "seen"
    first.save()

    assert remote_dataset[uri].id == first.id
    assert remote_dataset.match(fo.ViewField("filepath") == uri).first()["note"] == "seen"
    assert remote_dataset.clone().values("filepath") == remote_dataset.values("filepath")
    assert fo.load_dataset(remote_dataset.name).first().filepath == uri


def test_metadata_are_computed_before_the_app_shows_a_dataset(samples: Any) -> None:
    """As the guide recommends, ``dataset.compute_metadata()``: it reads headers, and caches nothing."""
    samples.compute_metadata()

    assert all(metadata.width and metadata.height for metadata in samples.values("metadata"))
    assert count(samples) == 0


MEDIA = "media_fields=None, group_slices=None, include_assets=True"
REPORT = "skip_failures=True, progress=None"
SIGNATURES = {
    "download_media": f"{MEDIA}, update=False, {REPORT}",
    "download_scenes": f"update=False, {REPORT}",
    "download_context": "batch_size=None, target_size_bytes=None, "
    f"{MEDIA}, update=False, skip_failures=True, clear=False, progress=None",
    "get_local_paths": f"media_field='filepath', include_assets=True, download=True, {REPORT}",
    "cache_stats": MEDIA,
    "clear_media": MEDIA,
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_methods_have_the_signatures_of_fiftyones_paid_edition(samples: Any, name: str) -> None:
    """Names, order and defaults of everything that collections can do with cloud media."""
    parameters = inspect.signature(getattr(samples, name)).parameters.values()
    bare = [p.replace(annotation=p.empty) for p in parameters]

    assert ", ".join(map(str, bare)) == SIGNATURES[name]


def test_upload_media_has_the_signature_of_fiftyones_paid_edition(fo: Any) -> None:
    """Names, order and defaults."""
    import fiftyone.core.storage as fos

    parameters = inspect.signature(fos.upload_media).parameters.values()
    bare = [p.replace(annotation=p.empty) for p in parameters]

    assert ", ".join(map(str, bare[1:])) == (
        "remote_dir, rel_dir=None, media_field='filepath', update_filepaths=False, cache=False, "
        "overwrite=False, skip_failures=False, progress=None"
    )


@pytest.mark.parametrize("name", ["download_media", "download_context", "get_local_paths"])
def test_failures_are_skipped_or_raised(samples: Any, places: Places, fo: Any, name: str) -> None:
    """``skip_failures=False`` raises what is missing; by default, the rest goes on."""
    samples._dataset.add_sample(fo.Sample(filepath=f"{places.root('s3')}missing.jpg"))

    def run(**arguments: Any) -> None:
        result = getattr(samples, name)(**arguments)
        if name == "download_context":
            with result:
                list(samples)

    run(skip_failures=True)
    assert count(samples) == 9
    with pytest.raises(DownloadError, match=r"missing\.jpg") as caught:
        run(skip_failures=False)
    assert caught.value.failed == 1
    [failure] = caught.value.failures
    assert failure.uri.endswith("missing.jpg")
    assert failure.reason.startswith("no such object")


# 2. local_path


def test_local_path_is_where_the_pixels_are(samples: Any, places: Places) -> None:
    """Write ``sample.local_path`` where you read pixels: what is not cached is downloaded at once."""
    for sample in samples:
        assert content(sample.local_path) == places.contents[sample.filepath]

    assert count(samples) == 9


def test_local_path_of_a_local_sample_is_its_filepath(samples: Any) -> None:
    """So all code can be written as if the dataset were in a cloud."""
    local = [sample for sample in samples if not is_remote(sample.filepath)]

    assert len(local) == 3
    assert all(sample.local_path == sample.filepath for sample in local)


def test_local_path_in_patches_views(remote_masks: Any) -> None:
    """A patch is a part of its photograph."""
    patches = remote_masks.to_patches("detections")

    for patch, sample in zip(patches, remote_masks, strict=True):
        assert patch.filepath == sample.filepath
        assert patch.local_path == sample.local_path


def test_local_path_of_videos_and_their_clips(remote_videos: Any, places: Places, fo: Any) -> None:
    """A clip is a part of its video."""
    for sample in remote_videos.iter_samples(autosave=True):
        assert content(sample.local_path) == places.contents[sample.filepath]
        event = fo.TemporalDetection(label="turn", support=[2, 4])
        sample["events"] = fo.TemporalDetections(detections=[event])

    for clip in remote_videos.to_clips("events"):
        assert content(clip.local_path) == places.contents[clip.filepath]


def test_local_path_of_frames(remote_videos: Any, places: Places, photos: dict[str, bytes], fo: Any) -> None:
    """A frame that is stored as an image has a path of its own, in the video and in a frames view."""
    images = iter(photos.items())
    for place, sample in zip(places.names, remote_videos, strict=True):
        for number in (1, 2):
            key, body = next(images)
            sample.frames[number] = fo.Frame(filepath=places.put(place, key, body))
        sample.save()

    for sample in remote_videos:
        for frame in sample.frames.values():
            assert content(frame.local_path) == places.contents[frame.filepath]
    frames = remote_videos.to_frames()
    assert len(frames) == 8
    for frame in frames:
        assert content(frame.local_path) == places.contents[frame.filepath]


def test_frames_can_be_sampled_from_remote_videos(remote_videos: Any) -> None:
    """``to_frames(sample_frames=True)`` writes local images, and says where."""
    frames = remote_videos.to_frames(sample_frames=True)

    assert len(frames) == 4 * 8
    assert all(frame.local_path == frame.filepath for frame in frames)
    assert all(Image.open(frame.local_path).size == (96, 64) for frame in frames)


def test_local_path_of_group_slices(remote_groups: Any, places: Places) -> None:
    """Every slice of a group has its own media."""
    for group in remote_groups.iter_groups():
        for sample in group.values():
            assert content(sample.local_path) == places.contents[sample.filepath]

    right = remote_groups.select_group_slices("right").first()
    assert content(right.local_path) == places.contents[right.filepath]


# 3. get_local_paths


def test_get_local_paths_stands_in_for_values_filepath(samples: Any, places: Places) -> None:
    """Downloads what is missing, all at the same time, and gives a path for each sample, in order."""
    paths = samples.get_local_paths()

    assert [content(path) for path in paths] == [places.contents[uri] for uri in samples.values("filepath")]


def test_get_local_paths_only_says_where_with_download_false(samples: Any) -> None:
    """Then nothing lies at the path of what is not cached yet."""
    paths = samples.get_local_paths(download=False)

    remote = [is_remote(uri) for uri in samples.values("filepath")]
    assert [Path(path).exists() for path in paths] == [not there for there in remote]
    assert paths == samples.get_local_paths(include_assets=False, progress=False)


def test_get_local_paths_of_nested_fields(remote_masks: Any, places: Places) -> None:
    """The masks of a list of instances come as a list for each sample."""
    paths = remote_masks.get_local_paths(media_field="detections.detections.mask_path")

    uris = remote_masks.values("detections.detections.mask_path")
    assert [[content(path) for path in sample] for sample in paths] == [
        [places.contents[uri] for uri in sample] for sample in uris
    ]
    assert remote_masks.get_local_paths("detections") == paths


def test_a_field_without_media_is_refused(remote_masks: Any) -> None:
    """As FiftyOne refuses it elsewhere."""
    with pytest.raises(ValueError, match="'tags' is not a valid media field"):
        remote_masks.get_local_paths("tags")
    with pytest.raises(ValueError, match="'nowhere' is not a valid media field"):
        remote_masks.download_media(media_fields=["filepath", "nowhere"])


# 4. download_media


def test_download_media_fills_the_cache(samples: Any) -> None:
    """Downloads the media of a whole collection with all threads, once."""
    samples.download_media()

    assert count(samples) == 9
    assert all(Path(path).exists() for path in samples.get_local_paths(download=False))


def test_download_media_does_not_download_what_is_there(samples: Any, http_server: HTTPServer) -> None:
    """A second call costs next to nothing."""
    samples.download_media()
    asked = len(http_server.requests)

    samples.download_media()

    assert len(http_server.requests) == asked


def test_download_media_of_some_samples(remote_dataset: Any) -> None:
    """A view downloads its own samples only."""
    remote_dataset[:4].download_media()

    assert count(remote_dataset) == 3


def test_update_downloads_again_what_has_changed(
    samples: Any, places: Places, photos: dict[str, bytes]
) -> None:
    """Without ``update`` the cached copy stays; with it only what has changed is downloaded."""
    samples.download_media()
    uris = [uri for uri in samples.values("filepath") if is_remote(uri)]
    changed = uris[:3]
    for number, uri in enumerate(changed):
        change(places, uri, b"another picture %d" % number)

    samples.download_media()
    assert content(samples[changed[0]].local_path) != places.contents[changed[0]]

    samples.download_media(update=True)
    for uri in uris:
        assert content(samples[uri].local_path) == places.contents[uri]


def test_media_fields_covers_masks_and_heatmaps(remote_masks: Any) -> None:
    """By default every field with media is downloaded; ``media_fields`` names one, or several."""
    remote_masks.download_media(media_fields="segmentation")
    assert (count(remote_masks), count(remote_masks, media_fields="segmentation")) == (9, 9)

    remote_masks.download_media(media_fields=["filepath", "heatmap"])
    assert count(remote_masks) == 27
    assert count(remote_masks, media_fields="detections") == 0

    remote_masks.download_media()
    assert count(remote_masks) == 36


def test_masks_and_heatmaps_are_read_like_local_ones(remote_masks: Any, places: Places) -> None:
    """``get_mask()`` and ``get_map()`` download what they need."""
    for sample in remote_masks:
        mask = sample.segmentation.get_mask()
        assert mask.shape == (24, 32)
        assert set(np.unique(mask)) <= {0, 1, 2}
        assert sample.heatmap.get_map().shape == (24, 32)
        assert sample.detections.detections[0].get_mask().shape == (8, 8)


def test_media_fields_of_the_app_cover_thumbnails(
    remote_dataset: Any, places: Places, photos: dict[str, bytes]
) -> None:
    """A field that the App shows in place of ``filepath`` belongs to the media."""
    for number, sample in enumerate(remote_dataset.iter_samples(autosave=True)):
        place = places.place_of(sample.filepath)
        sample["thumbnail_path"] = places.put(place, f"thumbnails/{number}.jpg", b"thumbnail %d" % number)
    remote_dataset.app_config.media_fields = ["filepath", "thumbnail_path"]
    remote_dataset.app_config.grid_media_field = "thumbnail_path"
    remote_dataset.save()

    remote_dataset.download_media(media_fields="thumbnail_path")
    assert (count(remote_dataset, media_fields="thumbnail_path"), count(remote_dataset)) == (9, 9)

    remote_dataset.download_media()
    assert count(remote_dataset) == 18
    paths = remote_dataset.get_local_paths("thumbnail_path")
    assert [content(path) for path in paths] == [b"thumbnail %d" % number for number in range(12)]


def test_media_fields_cover_masks_of_frames(
    remote_videos: Any, places: Places, tmp_path: Path, fo: Any
) -> None:
    """A video's frames may have masks on disk, too: ``frames.<field>``."""
    for place, sample in zip(places.names, remote_videos, strict=True):
        for number in (1, 2, 3):
            mask = media_files.mask(tmp_path / "made" / f"{number}.png", seed=number)
            uri = places.put_file(place, mask, f"frames/{sample.id}-{number}.png")
            sample.frames[number] = fo.Frame(segmentation=fo.Segmentation(mask_path=uri))
        sample.save()

    remote_videos.download_media(media_fields="frames.segmentation")
    assert count(remote_videos) == 9

    remote_videos.download_media()
    assert count(remote_videos) == 12
    paths = remote_videos.get_local_paths("frames.segmentation")
    assert [len(frames) for frames in paths] == [3, 3, 3, 3]
    assert all(Path(path).exists() for frames in paths for path in frames)


def test_group_slices_are_chosen(remote_groups: Any, places: Places) -> None:
    """All slices of a group are downloaded, unless ``group_slices`` names one, or several."""
    left, right = (remote_groups.select_group_slices(name).values("filepath") for name in ("left", "right"))
    remote = {"left": sum(map(is_remote, left)), "right": sum(map(is_remote, right))}

    remote_groups.download_media(group_slices="right")
    assert count(remote_groups) == count(remote_groups, group_slices="right") == remote["right"]

    remote_groups.download_media(group_slices=["left", "right"])
    assert count(remote_groups) == remote["left"] + remote["right"]

    remote_groups.clear_media(group_slices=["left"])
    assert count(remote_groups) == remote["right"]

    assert [content(path) for path in remote_groups.get_local_paths()] == [
        places.contents[uri] for uri in left
    ]


# 5. Scenes and their assets


def test_scenes_come_with_what_they_refer_to(remote_scenes: Any) -> None:
    """A ``.fo3d`` scene refers to meshes, materials and point clouds, by names relative to its own."""
    remote_scenes.download_media()

    assert count(remote_scenes, include_assets=False) == 3
    assert count(remote_scenes) == 3 * (1 + 3)
    for sample in remote_scenes:
        folder = Path(sample.local_path).with_suffix("")
        assert {"cloud.pcd", "box.obj", "box.mtl"} <= {path.name for path in folder.iterdir()}


def test_scenes_without_assets(remote_scenes: Any) -> None:
    """``include_assets=False`` leaves them out, and so does ``download_scenes()``."""
    remote_scenes.download_media(include_assets=False)
    assert count(remote_scenes) == 3

    remote_scenes.clear_media()
    assert count(remote_scenes) == 0

    remote_scenes.download_scenes()
    assert count(remote_scenes) == 3


def test_scenes_are_updated(remote_scenes: Any, places: Places, tmp_path: Path, fo: Any) -> None:
    """``update=True`` sees assets that a scene has not had before."""
    remote_scenes.download_media()
    for sample in remote_scenes:
        scene = fo.Scene()
        scene.add(fo.PointCloud("new", "new.pcd"))
        path = tmp_path / "new.fo3d"
        scene.write(str(path))
        change(places, sample.filepath, path.read_bytes())
        folder = sample.filepath.rpartition("/")[0]
        change(places, f"{folder}/new.pcd", media_files.point_cloud(tmp_path / "new.pcd").read_bytes())

    remote_scenes.download_scenes(update=True, skip_failures=False, progress=False)
    assert count(remote_scenes) == 3

    remote_scenes.download_media(update=True)
    assert all((Path(path).parent / "new.pcd").exists() for path in remote_scenes.get_local_paths())


# 6. What is cached, and clearing it


def test_cache_stats_tell_what_of_a_collection_is_cached(samples: Any, places: Places) -> None:
    """As the statistics of the whole cache, but of these samples only."""
    samples.download_media()

    stats = samples.cache_stats()

    remote = [uri for uri in samples.values("filepath") if is_remote(uri)]
    assert stats["current_count"] == 9
    assert stats["current_size"] == sum(len(places.contents[uri]) for uri in remote)
    assert stats["cache_size"] == 137438953472
    assert stats["cache_size_str"] == "128.0GB"
    assert stats["load_factor"] == stats["current_size"] / stats["cache_size"]
    assert Path(stats["cache_dir"]).is_dir()


def test_clear_media_removes_cached_copies_only(samples: Any, places: Places) -> None:
    """Local files stay, and so does every object in the clouds."""
    samples.download_media()

    samples[:6].clear_media()

    remote = [is_remote(uri) for uri in samples.values("filepath")]
    assert count(samples) == sum(remote[6:])
    samples.clear_media()
    assert count(samples) == 0
    assert [content(path) for path in samples.get_local_paths()] == [
        places.contents[uri] for uri in samples.values("filepath")
    ]


def test_clear_media_of_one_field(remote_masks: Any) -> None:
    """It takes the same arguments as ``cache_stats()``."""
    remote_masks.download_media()

    remote_masks.clear_media(media_fields=["segmentation", "heatmap"])
    assert count(remote_masks) == 18

    remote_masks.clear_media(media_fields="filepath", include_assets=False)
    assert count(remote_masks) == 9


def test_the_whole_cache(samples: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The module ``fiftyone.core.cache`` holds the cache of this process; so does ``fo.media_cache``."""
    import fiftyone as fo
    import fiftyone.core.cache as foc

    samples.download_media()

    exec(THE_WHOLE_CACHE, {})

    assert "'current_count': 9" in capsys.readouterr().out
    assert foc.media_cache.stats()["current_count"] == 0
    assert fo.media_cache is foc.media_cache
    sample = samples.first()
    assert fo.media_cache.get_local_path("/a/local.jpg") == "/a/local.jpg"
    assert fo.media_cache.get_local_path(sample.filepath) == sample.local_path
    assert fo.media_cache_config.cache_dir == foc.media_cache.stats()["cache_dir"]


# 7. Loops: download_context


def test_download_context_downloads_ahead_of_a_loop(samples: Any, places: Places) -> None:
    """While the loop is at one batch, the next is being fetched."""
    with samples.download_context(batch_size=3):
        for sample in samples:
            assert content(sample.local_path) == places.contents[sample.filepath]


def test_download_context_has_each_batch_at_hand(samples: Any) -> None:
    """Even for a loop that only knows where the files will be, and reads nothing by ``local_path``."""
    where = dict(zip(samples.values("id"), samples.get_local_paths(download=False), strict=True))

    with samples.download_context(batch_size=3):
        for number, sample in enumerate(samples):
            assert Path(where[sample.id]).exists()
            assert count(samples) <= 3 * (number // 3 + 2)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"target_size_bytes": 100_000},
        {"target_size_bytes": "100KB"},
        {"target_size_bytes": -1},
        {"target_size_bytes": "-1"},
        {"batch_size": 1},
        {"batch_size": 100},
    ],
    ids=str,
)
def test_download_context_in_batches_of_any_size(samples: Any, sizes: dict[str, Any]) -> None:
    """So many samples, so many bytes, everything at once; ``download_size_bytes`` by default."""
    with samples.download_context(**sizes):
        assert all(Path(sample.local_path).exists() for sample in samples)


def test_download_context_makes_batches_of_download_size_bytes(
    fo: Any, places: Places, use_cache: UseCache
) -> None:
    """The first sixteen samples tell how large a sample is. Here, each of the others is a batch, then."""
    uris = [places.put("s3", f"small/{number:02}.jpg", b"x" * 100) for number in range(40)]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=uri) for uri in uris])
    use_cache(download_size_bytes=100)

    with dataset.download_context():
        for number, sample in enumerate(dataset, 1):
            assert Path(sample.local_path).exists()
            assert count(dataset) <= max(16, number) + 1


@pytest.mark.parametrize(
    "sizes", [{"batch_size": 0}, {"batch_size": "x"}, {"batch_size": 2.5}, {"target_size_bytes": 0}], ids=str
)
def test_download_context_refuses_sizes_without_a_meaning(samples: Any, sizes: dict[str, Any]) -> None:
    [(name, value)] = sizes.items()

    with pytest.raises(ConfigError) as caught, samples.download_context(**sizes):
        pass

    allowed = "a number from 1" if name == "batch_size" else "a size from 1 byte, such as 128MB"
    assert str(caught.value) == f"{name}={value!r} is not allowed: must be {allowed}, or None"


def test_download_context_clears_what_the_loop_has_left(samples: Any) -> None:
    """``clear=True`` leaves nothing behind, in whichever order the loop went."""
    with samples.download_context(batch_size=2, clear=True):
        for sample in samples:
            assert Path(sample.local_path).exists()
    assert count(samples) == 0

    with samples.download_context(batch_size=2, clear=True):
        for sample in samples.shuffle(seed=51):
            assert Path(sample.local_path).exists()
    assert count(samples) == 0


def test_download_context_takes_the_arguments_of_download_media(
    remote_masks: Any, remote_groups: Any, places: Places
) -> None:
    """``media_fields``, ``group_slices``, ``include_assets``, ``update``."""
    with remote_masks.download_context(media_fields="segmentation", target_size_bytes=-1):
        assert all(sample.segmentation.get_mask() is not None for sample in remote_masks)
    assert count(remote_masks) == 9

    remote_masks.clear_media()
    with remote_groups.download_context(group_slices="right", include_assets=False, batch_size=2):
        for group in remote_groups.iter_groups():
            assert Path(group["right"].local_path).exists()
    assert count(remote_groups) == count(remote_groups, group_slices="right") > 0

    uri = next(filter(is_remote, remote_groups.select_group_slices("right").values("filepath")))
    change(places, uri, b"changed")
    with remote_groups.download_context(group_slices="right", update=True):
        paths = {g["right"].filepath: g["right"].local_path for g in remote_groups.iter_groups()}
    assert content(paths[uri]) == b"changed"


def test_download_context_over_more_than_the_cache_holds(
    remote_dataset: Any, places: Places, use_cache: UseCache
) -> None:
    """The cache's limit holds all the time; each file is there when its turn comes."""
    largest = max(map(len, places.contents.values()))
    cache = use_cache(cache_size_bytes=4 * largest)

    with remote_dataset.download_context(batch_size=1):
        for sample in remote_dataset:
            assert content(sample.local_path) == places.contents[sample.filepath]
            assert cache.stats()["current_size"] <= 4 * largest


# 8. Progress


def test_progress_is_shown_as_fiftyone_shows_it(
    samples: Any, fo: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """True, False, or None for what FiftyOne is configured to do."""

    def shown(progress: bool | None) -> bool:
        samples.clear_media()
        caplog.clear()
        with caplog.at_level("INFO"):
            samples.download_media(progress=progress)
        return "9/9" in caplog.text

    assert shown(True)
    assert not shown(False)
    fo.config.show_progress_bars = True
    assert shown(None)
    fo.config.show_progress_bars = False
    assert not shown(None)


def test_progress_may_be_a_callback(samples: Any, fo: Any) -> None:
    """It gets FiftyOne's progress bar, as it does everywhere else in FiftyOne."""
    seen: list[tuple[int, int]] = []

    def note(bar: Any) -> None:
        seen.append((bar.iteration, bar.total))

    samples.download_media(progress=note)
    assert seen[-1] == (9, 9)

    samples.clear_media()
    seen.clear()
    samples.get_local_paths(progress=fo.report_progress(note, n=1))
    assert seen == [(9, 9)]

    seen.clear()
    with samples.download_context(batch_size=4, progress=note):
        for sample in samples:
            assert sample.local_path
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


# 9. Settings


def settings(environment: dict[str, str], *, first: str = "") -> dict[str, Any]:
    """The media cache's settings in a new program, started by a shell that ran ``first``."""
    program = "import fiftyone as fo; print('=' + fo.media_cache_config.model_dump_json())"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_MEDIA_CACHE_")}
    done = subprocess.run(
        ["bash", "-euc", f'{first}\nexec "$0" -c "$1"', sys.executable, program],
        env=bare | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.rpartition("=")[2])
    return found


THE_EXAMPLE = {
    "cache_dir": "/path/for/media-cache",
    "cache_size_bytes": 137438953472,
    "num_workers": 16,
    "cache_app_images": False,
}


def snippets(text: str) -> list[str]:
    """The code blocks of a page of reStructuredText: what is indented more than its directive."""
    found, lines = [], text.expandtabs(4).splitlines()
    for number, line in enumerate(lines):
        if line.strip() == ".. code-block:: python":
            indent = line.index("..")
            inside = itertools.takewhile(
                lambda other, indent=indent: not other.strip() or other[: indent + 1].isspace(),
                lines[number + 1 :],
            )
            found.append(textwrap.dedent("\n".join(inside)).strip() + "\n")
    return found


def test_the_snippets_are_those_of_the_guide() -> None:
    """If the guide lies beside the repository, its text is still what this file runs."""
    if not GUIDE.exists():
        pytest.skip(f"the guide is not part of the repository: {GUIDE.name} does not lie beside it")
    blocks = snippets(GUIDE.read_text(encoding="utf-8"))
    ours = [block for block in blocks if "annotate" not in block]
    assert ours == [THE_WHOLE_CACHE, SETTINGS_IN_THE_ENVIRONMENT, SETTINGS_IN_A_FILE]


def test_settings_have_the_defaults_that_are_documented(fo: Any) -> None:
    """``~/fiftyone/__cache__``, 128 GB, as many threads as CPUs, and no images of the App."""
    found = settings({})

    assert found["cache_dir"] == os.path.expanduser("~/fiftyone/__cache__")
    assert found["cache_size_bytes"] == 137438953472
    assert found["num_workers"] == capacity.cpus()
    assert found["cache_app_images"] is False


def test_settings_come_from_the_environment(fo: Any) -> None:
    """``FIFTYONE_MEDIA_CACHE_…``, for a session."""
    found = settings({}, first=SETTINGS_IN_THE_ENVIRONMENT)

    assert found.items() >= THE_EXAMPLE.items()


def test_settings_come_from_a_file(fo: Any) -> None:
    """``~/.fiftyone/media_cache_config.json``, for good; the environment wins over it."""
    path = Path("~/.fiftyone/media_cache_config.json").expanduser()
    path.parent.mkdir(parents=True)
    path.write_text(SETTINGS_IN_A_FILE)

    assert settings({}).items() >= THE_EXAMPLE.items()
    found = settings({"FIFTYONE_MEDIA_CACHE_NUM_WORKERS": "3", "FIFTYONE_MEDIA_CACHE_APP_IMAGES": "true"})
    assert found.items() >= (THE_EXAMPLE | {"num_workers": 3, "cache_app_images": True}).items()


def test_the_file_may_lie_elsewhere(fo: Any, tmp_path: Path) -> None:
    """``FIFTYONE_MEDIA_CACHE_CONFIG_PATH`` says where."""
    path = tmp_path / "elsewhere.json"
    path.write_text(SETTINGS_IN_A_FILE)

    found = settings({"FIFTYONE_MEDIA_CACHE_CONFIG_PATH": str(path)})

    assert found.items() >= THE_EXAMPLE.items()


# 10. Remote files that belong to no sample: fiftyone.core.storage


@pytest.fixture
def bucket(store: str, places: Places) -> str:
    """A folder in each kind of bucket in turn."""
    return f"{places.root(store)}folder"


def test_storage_functions_take_remote_paths(fo: Any, bucket: str, tmp_path: Path) -> None:
    """Write, look, list, read, copy, move and delete, as with local files."""
    import fiftyone.core.storage as fos

    fos.write_json({"a": 1}, f"{bucket}/a.json")
    fos.write_file("text", f"{bucket}/deep/b.txt")
    with fos.open_file(f"{bucket}/c.txt", "w") as file:
        file.write("line")

    assert fos.exists(f"{bucket}/a.json") and fos.isfile(f"{bucket}/a.json")
    assert not fos.exists(f"{bucket}/z.json")
    assert fos.list_files(bucket, recursive=True) == ["a.json", "c.txt", "deep/b.txt"]
    assert fos.read_json(f"{bucket}/a.json") == {"a": 1}
    assert fos.read_files([f"{bucket}/deep/b.txt", f"{bucket}/c.txt"]) == ["text", "line"]

    local = [str(tmp_path / "b.txt"), str(tmp_path / "c.txt")]
    fos.copy_files([f"{bucket}/deep/b.txt", f"{bucket}/c.txt"], local)
    fos.move_files(local, [f"{bucket}/moved/b.txt", f"{bucket}/moved/c.txt"])
    assert not Path(local[0]).exists()
    assert fos.read_file(f"{bucket}/moved/c.txt") == "line"

    fos.delete_files([f"{bucket}/moved/b.txt", f"{bucket}/moved/c.txt"])
    assert fos.list_files(f"{bucket}/moved") == []


@since("1.12", "a `with` statement over open_files()")
def test_files_are_opened_together(fo: Any, bucket: str) -> None:
    """All at once, for reading or writing; the end of the block uploads what was written."""
    import fiftyone.core.storage as fos

    uris = [f"{bucket}/b.txt", f"{bucket}/c.txt"]
    with fos.open_files(uris, "w") as files:
        for file, text in zip(files, ["text", "line"], strict=True):
            file.write(text)

    with fos.open_files(uris, "r") as files:
        assert [file.read() for file in files] == ["text", "line"]


def test_upload_media_brings_local_media_into_a_cloud(
    fo: Any, bucket: str, photo_paths: list[Path], photos: dict[str, bytes], tmp_path: Path
) -> None:
    """Then the dataset may refer to the uploaded copies, which may stay in the cache."""
    import fiftyone.core.storage as fos

    dataset = dataset_of(fo, photo_paths)

    uris = fos.upload_media(
        dataset,
        bucket,
        rel_dir=str(tmp_path / "photos"),
        media_field="filepath",
        update_filepaths=True,
        cache=True,
        overwrite=False,
        skip_failures=False,
        progress=False,
    )

    assert uris == [f"{bucket}/{name}" for name in photos]
    assert dataset.values("filepath") == uris
    assert count(dataset) == len(photos)
    dataset.clear_media()
    assert [content(path) for path in dataset.get_local_paths()] == list(photos.values())


def test_get_url_signs_a_link(fo: Any, places: Places) -> None:
    """The URL reads the file without credentials until it expires."""
    import fiftyone.core.storage as fos

    url = fos.get_url(places.put("s3", "shared.txt", b"shared"), hours=1)

    assert requests.get(url, timeout=30).content == b"shared"
    assert "X-Amz-Expires=3600" in url
