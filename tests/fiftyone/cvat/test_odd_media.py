"""Media that CVAT sees otherwise than FiftyOne: they work, or are refused before anything is created."""

from __future__ import annotations

import mimetypes
import time
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.cvat import create_manifest
from forebay.cvat.media_names import is_context
from tests.cvat.images import image
from tests.cvat.standin import CVAT
from tests.fiftyone import media_files
from tests.fiftyone.cvat.conftest import NAMES, InCloud
from tests.fiftyone.cvat.test_errors import created_task, nothing_was_created, refused
from tests.fiftyone.places import Places

NEW_LABELS: dict[str, Any] = {"label_field": "new", "label_type": "detections", "classes": ["cat"]}
OF_FRAMES = {**NEW_LABELS, "label_field": "frames.new"}


def dataset_of(fo: Any, *uris: str, media_type: str | None = None) -> Any:
    dataset = fo.Dataset()
    if media_type is not None:
        dataset.media_type = media_type
    dataset.add_samples([fo.Sample(filepath=uri) for uri in uris])
    return dataset


# Images


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_turned_tiff_image(
    fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, media_cache: MediaCache, orientation: int
) -> None:
    """Given a manifest with the size that is shown, it works; without one, CVAT would turn the size twice."""
    uri = places.put("s3", "z/turned.tiff", image(32, 24, orientation=orientation, format="TIFF"))
    dataset = dataset_of(fo, uri)
    create_manifest(in_s3.root, cache=media_cache)

    assert refused(dataset, cvat, cloud_manifest=None, cloud_storage_id=in_s3.storage_id, **NEW_LABELS) == (
        f"1 of the 1 sample is a TIFF image with an EXIF orientation of 5 to 8, whose width and height CVAT "
        f"exchanges once too often, unless a manifest has them: {uri}. Pass cloud_manifest=True; to make the "
        f"manifest, run: forebay cvat manifest {in_s3.root}z/"
    )
    assert nothing_was_created(cvat)

    dataset.annotate("run", cloud_manifest=True, **NEW_LABELS)
    assert [(frame["width"], frame["height"]) for frame in next(iter(cvat.tasks.values())).frames] == [
        (24, 32)
    ]


def test_a_manifest_of_a_turned_tiff_image_that_is_not_ours(
    fo: Any, in_s3: InCloud, cvat: CVAT, places: Places
) -> None:
    """CVAT's own program turns the size twice, too: the manifest is what must be mended."""
    uri = places.put("s3", "turned.tif", image(32, 24, orientation=6, format="TIFF"))
    lines = [
        b'{"version":"1.1"}',
        b'{"type":"images"}',
        b'{"name":"turned","extension":".tif","width":32,"height":24}',
    ]
    places.put("s3", "manifest.jsonl", b"\n".join(lines))
    assert refused(dataset_of(fo, uri), cvat, **NEW_LABELS) == (
        f"1 of the 1 sample is of another size in {in_s3.manifest} than in their metadata, so labels would "
        f"end up in the wrong places: {uri} is 32x24 there and 24x32 here. Run "
        f"compute_metadata(overwrite=True), and rebuild the manifest: forebay cvat manifest {in_s3.root} "
        "--anew"
    )


@pytest.mark.parametrize("key", ["a//b.jpg", "/b.jpg", "a/./b.jpg", "a/../b.jpg"])
@pytest.mark.parametrize("media_type", ["image", "video"])
def test_a_key_that_cvat_does_not_accept(
    fo: Any, in_s3: InCloud, cvat: CVAT, key: str, media_type: str
) -> None:
    if media_type == "video":
        key = key.replace(".jpg", ".mp4")
    uri = f"{in_s3.root}{key}"
    labels = OF_FRAMES if media_type == "video" else NEW_LABELS
    assert refused(dataset_of(fo, uri, media_type=media_type), cvat, **labels) == (
        f"1 of the 1 sample is under keys that CVAT does not accept, as a part between slashes is empty, "
        f"'.' or '..': {uri}. Copy them to other keys, and change the samples"
    )
    assert nothing_was_created(cvat)


@pytest.mark.parametrize("directory", ["related_images/", "a/related_images/m_jpg/"])
def test_context_images(fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, directory: str) -> None:
    uri = places.put("s3", f"{directory}c.jpg", image(8, 8))
    in_s3.dataset.add_sample(fo.Sample(filepath=uri))
    assert refused(in_s3.dataset, cvat) == (
        f"1 of the 7 samples is in a directory related_images/, whose images CVAT shows beside others, not "
        f"as frames: {uri}. Copy them to another directory, and change the samples, or annotate a view "
        "without them"
    )
    assert nothing_was_created(cvat)


def test_only_a_directory_of_that_name_has_context_images() -> None:
    assert is_context("a/related_images/b.jpg")
    assert not is_context("a/related_images")
    assert not is_context("my_related_images/b.jpg")


# Manifests


def test_blank_last_lines(in_s3: InCloud, cvat: CVAT, places: Places, media_cache: MediaCache) -> None:
    """CVAT skips them, so we do; when images are added, they do not end up in the middle."""
    client, bucket = places.s3_server.client, places.s3_bucket
    text = client.get_object(Bucket=bucket, Key="manifest.jsonl")["Body"].read()
    places.put("s3", "manifest.jsonl", text + b"\n  \n")

    in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True)
    assert next(iter(cvat.tasks.values())).size == len(NAMES)

    places.put("s3", "later.jpg", image(8, 8))
    create_manifest(in_s3.root, cache=media_cache)
    lines = client.get_object(Bucket=bucket, Key="manifest.jsonl")["Body"].read().splitlines()
    assert len(lines) == 2 + len(NAMES) + 1
    assert all(line.strip() for line in lines)


def test_a_manifest_is_newer_than_what_cvat_has_of_it(
    in_s3: InCloud, cvat: CVAT, places: Places, media_cache: MediaCache
) -> None:
    """Given a manifest that CVAT has just read, when it is replaced, then CVAT reads it again."""
    dataset = in_s3.dataset
    dataset.annotate("first", label_field="boxes", cloud_manifest=True)
    places.put("s3", "m.jpg", image(20, 10))
    cvat.copies = {key: (time.time(), text) for key, (_, text) in cvat.copies.items()}
    create_manifest(in_s3.root, update=False, cache=media_cache)
    dataset.compute_metadata(overwrite=True)

    dataset.annotate("second", label_field="boxes", cloud_manifest=True)

    assert [task.frames[0]["width"] for task in cvat.tasks.values()] == [40, 20]


# Tasks


def test_by_default_tasks_are_of_a_size_that_cvat_imports_in_seconds(
    in_s3: InCloud, cvat: CVAT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is an import of its own images alone, since CVAT looks for each image among all of an import's."""
    monkeypatch.setattr("forebay.fiftyone.cvat_backend._MAX_DEFAULT_TASK_SIZE", 4)

    in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True)

    assert [task.data["server_files"] for task in cvat.tasks.values() if task.data] == [
        ["manifest.jsonl", *NAMES[:3]],
        ["manifest.jsonl", *NAMES[3:]],
    ]


@pytest.mark.parametrize(
    ("count", "size"), [(0, 1), (1, 1), (2000, 2000), (2001, 1001), (3999, 2000), (10_000, 2000)]
)
def test_the_default_task_size(fo: Any, count: int, size: int) -> None:
    from forebay.fiftyone.cvat_backend import default_task_size

    assert default_task_size(count) == size


# Videos


def test_a_video_with_an_edit_list(
    fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, tmp_path: Path
) -> None:
    """It was cut without being encoded anew: FiftyOne counts frames that nobody is shown."""
    uri = places.put_file("s3", media_files.cut_video(tmp_path / "cut.mp4"), "cut.mp4")
    message = refused(dataset_of(fo, uri), cvat, **OF_FRAMES)
    assert message.startswith(f"{uri} has an edit list that hides about ")
    assert message.endswith(
        "of its frames (it was cut without being encoded anew): CVAT does not count them, FiftyOne does, so "
        "labels would end up on the wrong frames. Encode it anew: ffmpeg -i OLD NEW.mp4, upload it, and run "
        "compute_metadata(overwrite=True)"
    )
    assert nothing_was_created(cvat)


@pytest.mark.parametrize("name", ["stream.mp4", "stream.ts"])
def test_an_mpeg_transport_stream(
    fo: Any,
    in_s3: InCloud,
    cvat: CVAT,
    places: Places,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Whatever its name; whether .ts is a video to FiftyOne depends on the system's list of types."""
    mimetypes.init()
    monkeypatch.setitem(mimetypes.types_map, ".ts", "video/mp2t")
    uri = places.put_file("s3", media_files.video(tmp_path / "stream.ts"), name)
    assert refused(dataset_of(fo, uri), cvat, **OF_FRAMES) == (
        f"{uri} is an MPEG transport stream, in which CVAT cannot find a frame by its time. Make an MP4 file "
        f"of it: ffmpeg -i OLD NEW.mp4, upload it, and run compute_metadata(overwrite=True)"
    )
    assert nothing_was_created(cvat)


def test_a_video_of_which_cvat_finds_fewer_frames(
    fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, tmp_path: Path
) -> None:
    """Given nothing in its header that tells, then the task is compared, and removed."""
    uri = places.put_file("s3", media_files.video(tmp_path / "clip.mp4"), "clip.mp4")
    cvat.lost_frames = 2
    assert refused(dataset_of(fo, uri), cvat, **OF_FRAMES) == (
        f"CVAT's task {created_task(cvat)} has 6 frames of 'clip.mp4', but to FiftyOne there are 8; labels "
        f"would end up on the wrong ones, so none were sent. Encode the video anew, so that each frame of "
        f"the file is shown, and run compute_metadata(overwrite=True): ffmpeg -i OLD NEW.mp4"
    )


def test_a_part_of_a_video(fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, tmp_path: Path) -> None:
    uri = places.put_file("s3", media_files.video(tmp_path / "clip.mp4"), "clip.mp4")
    dataset_of(fo, uri).annotate(
        "run", cloud_manifest=True, frame_start=1, frame_stop=20, frame_step=3, **OF_FRAMES
    )
    assert [task.size for task in cvat.tasks.values()] == [3]
