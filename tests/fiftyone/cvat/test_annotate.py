"""Annotating with CVAT where the media lie: labels there, and back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.cvat import create_manifest, create_video_manifest
from tests.cvat.standin import CVAT, PASSWORD, USER
from tests.fiftyone import media_files
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.cvat.conftest import NAMES, InCloud
from tests.fiftyone.made_datasets import pairs_of
from tests.fiftyone.places import Places
from tests.servers.proxy import Proxy


def rename(cvat: CVAT) -> None:
    """Moves every box to the image's upper left corner, as an annotator could."""
    for shape in cvat.shapes():
        left, top, right, bottom = shape["points"]
        shape["points"] = [0, 0, right - left, bottom - top]


@pytest.mark.parametrize("how", ["True", "uri", "id", "both"])
def test_labels_there_and_back(in_cloud: InCloud, cvat: CVAT, media_cache: MediaCache, how: str) -> None:
    """Issue 6, 1: with S3, GCS and MinIO, nothing is uploaded, and each box comes back to its sample."""
    dataset = in_cloud.dataset
    arguments: dict[str, Any] = {
        "True": {"cloud_manifest": True},
        "uri": {"cloud_manifest": in_cloud.manifest},
        "id": {"cloud_storage_id": in_cloud.storage_id},
        "both": {"cloud_manifest": True, "cloud_storage_id": in_cloud.storage_id},
    }[how]

    results = dataset.annotate("run", label_field="boxes", **arguments)

    task = cvat.tasks[results.task_ids[0]]
    assert task.data is not None
    assert cvat.uploaded == []
    assert [frame["name"] for frame in task.frames] == list(NAMES)
    manifest = [] if how == "id" else ["manifest.jsonl"]
    assert task.data["server_files"] == [*manifest, *NAMES]
    assert media_cache.stats()["current_count"] == 0, "no image was downloaded"
    rename(cvat)

    dataset.load_annotations("run", cleanup=True)

    for sample in dataset:
        (box,) = sample.boxes.detections
        assert box.label == f"thing {sample.number}"
        assert box.bounding_box == pytest.approx([0, 0, 0.5, 0.05 * (sample.number + 1)], abs=0.02)
    assert cvat.is_empty


def test_the_import_tells_how_far_it_is(in_s3: InCloud, cvat: CVAT) -> None:
    """Given that CVAT says 50 % and then that it is done, this is what the progress bar is told."""
    from forebay.cvat.server import CvatServer
    from forebay.cvat.task_media import import_media

    server = CvatServer.connect(cvat.url, username=USER, password=PASSWORD)
    task = server.post("/api/tasks", {"name": "t", "labels": []})["id"]
    told: list[float] = []

    import_media(
        server,
        task,
        in_s3.storage_id,
        NAMES,
        manifest="manifest.jsonl",
        timeout_seconds=60,
        progress=told.append,
        image_quality=75,
    )

    assert told == [0.5, 1.0]


def test_new_labels(in_s3: InCloud, cvat: CVAT) -> None:
    """A field that does not exist yet: the annotator draws, FiftyOne gets it."""
    dataset = in_s3.dataset
    dataset.annotate("run", label_field="new", label_type="detections", classes=["cat"], cloud_manifest=True)
    (task,) = cvat.tasks.values()
    shape = {"type": "rectangle", "frame": 3, "label_id": task.labels[0]["id"], "points": [0, 0, 12, 23]}
    task.annotations["shapes"].append({**shape, "id": 4711, "attributes": [], "occluded": False, "group": 0})

    dataset.load_annotations("run")

    found = {sample.filepath: sample.new.detections for sample in dataset if sample.new}
    ((uri, (box,)),) = found.items()
    assert uri == f"{in_s3.root}turned.jpg"
    assert box.label == "cat"
    assert box.bounding_box == pytest.approx([0, 0, 12 / 48, 23 / 46])


def test_several_tasks(in_s3: InCloud, cvat: CVAT) -> None:
    dataset = in_s3.dataset

    results = dataset.annotate("run", label_field="boxes", cloud_manifest=True, task_size=4)

    tasks = [cvat.tasks[number] for number in results.task_ids]
    assert [[frame["name"] for frame in task.frames] for task in tasks] == [list(NAMES[:4]), list(NAMES[4:])]
    rename(cvat)
    dataset.load_annotations("run")
    assert dataset.values("boxes.detections.bounding_box")[5][0][:2] == [0, 0]
    results.cleanup()
    assert cvat.is_empty


def test_a_view_in_its_own_order(in_s3: InCloud, cvat: CVAT) -> None:
    view = in_s3.dataset.sort_by("number", reverse=True).limit(3)

    view.annotate("run", label_field="boxes", cloud_manifest=True)

    (task,) = cvat.tasks.values()
    assert [frame["name"] for frame in task.frames] == list(reversed(NAMES))[:3]
    shapes = sorted(task.annotations["shapes"], key=lambda shape: shape["frame"])
    assert [
        label["name"] for shape in shapes for label in task.labels if label["id"] == shape["label_id"]
    ] == [
        "thing 5",
        "thing 4",
        "thing 3",
    ]


def test_a_slice_of_groups(fo: Any, in_s3: InCloud, cvat: CVAT) -> None:
    uris = in_s3.dataset.values("filepath")
    dataset = pairs_of(fo, uris)
    view = dataset.select_group_slices("right")

    view.annotate(
        "run", label_field="new", label_type="classifications", classes=["cat"], cloud_manifest=True
    )

    (task,) = cvat.tasks.values()
    assert [frame["name"] for frame in task.frames] == list(NAMES[1::2])


def test_a_project_and_assignees(in_s3: InCloud, cvat: CVAT) -> None:
    results = in_s3.dataset.annotate(
        "run",
        label_field="boxes",
        cloud_manifest=True,
        project_name="ours",
        job_assignees=["annotator"],
    )
    assert [project["name"] for project in cvat.projects.values()] == ["ours"]
    assert [task.assignee for task in cvat.tasks.values()] == [7]
    results.cleanup()
    assert not cvat.tasks


@pytest.mark.parametrize("arguments", [{}, {"backend": "cvat"}, {"config_cls": "ours"}])
def test_ways_to_name_the_backend(in_s3: InCloud, cvat: CVAT, arguments: dict[str, Any]) -> None:
    if "config_cls" in arguments:
        arguments = {"config_cls": "forebay.fiftyone.cvat_backend.CVATBackendConfig"}
    in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True, **arguments)
    config = in_s3.dataset.get_annotation_info("run").config
    assert config.cls == "forebay.fiftyone.cvat_backend.CVATBackendConfig"
    assert "annotator-password-42" not in str(config.serialize())


def test_without_a_bucket_fiftyone_uploads_as_ever(in_s3: InCloud, cvat: CVAT) -> None:
    """The backend is FiftyOne's own, and remote media are uploaded from the cache."""
    dataset = in_s3.dataset

    dataset.annotate("run", label_field="boxes")

    config = dataset.get_annotation_info("run").config
    assert config.cls == "fiftyone.utils.cvat.CVATBackendConfig"
    assert len(cvat.uploaded) == 6
    rename(cvat)
    dataset.load_annotations("run")
    assert dataset.values("boxes.detections.bounding_box")[2][0][:2] == [0, 0]


@pytest.mark.parametrize("manifest", [True, "clip 1.jsonl"])
def test_videos(
    fo: Any,
    in_s3: InCloud,
    cvat: CVAT,
    media_cache: MediaCache,
    places: Places,
    tmp_path: Path,
    manifest: Any,
) -> None:
    """CVAT loads each from the bucket, with a manifest or without; a task has one."""
    uris = [
        places.put_file("s3", media_files.video(tmp_path / f"{i}.mp4", seed=i), f"clip {i}.mp4")
        for i in range(2)
    ]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=uri) for uri in uris])
    if manifest is not True:
        manifest = create_video_manifest(uris[1], cache=media_cache).path
        dataset = dataset[1:]

    dataset.annotate(
        "run", label_field="frames.new", label_type="detections", classes=["cat"], cloud_manifest=manifest
    )

    sent = [task.data["server_files"] for task in cvat.tasks.values() if task.data]
    if manifest is True:
        assert sent == [["clip 0.mp4"], ["clip 1.mp4"]]
    else:
        assert sent == [["clip 1.jsonl", "clip 1.mp4"]]
    assert cvat.uploaded == []
    dataset.load_annotations("run", cleanup=True)
    assert cvat.is_empty


def test_a_manifest_of_a_dataset_reads_nothing_that_is_known(
    in_s3: InCloud, places: Places, use_cache: UseCache, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given metadata, when a manifest is made of the dataset, then no image is looked into."""
    in_s3.dataset.compute_metadata()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)

    made = create_manifest(in_s3.dataset, f"{in_s3.root}made.jsonl", update=False, cache=use_cache())

    assert made.added == 6
    assert s3_proxy.count("GET") == 0
    bodies = [
        places.s3_server.client.get_object(Bucket=places.s3_bucket, Key=key)["Body"].read()
        for key in ("made.jsonl", "manifest.jsonl")
    ]
    assert sorted(bodies[0].splitlines()) == sorted(bodies[1].splitlines())


def test_a_manifest_in_the_directory_of_the_media(
    in_s3: InCloud, cvat: CVAT, media_cache: MediaCache
) -> None:
    from fiftyone import ViewField as F

    view = in_s3.dataset.match(F("filepath").starts_with(f"{in_s3.root}z/"))
    manifest = create_manifest(view, f"{in_s3.root}z/", cache=media_cache).path

    view.annotate("run", label_field="boxes", cloud_manifest=manifest)

    (task,) = cvat.tasks.values()
    assert [frame["name"] for frame in task.frames] == ["z/b c.jpg", "z/a.jpg"]


def test_a_config_of_the_users_own_stays(monkeypatch: pytest.MonkeyPatch, fo: Any, tmp_path: Path) -> None:
    """Given another class in FiftyOne's own file, when the adapter is switched on, then it stays."""
    from forebay.fiftyone import cvat_registration

    chosen = {"backends": {"cvat": {"config_cls": "mine.Config"}}}
    (tmp_path / "annotation_config.json").write_text(json.dumps(chosen))
    monkeypatch.setenv("FIFTYONE_ANNOTATION_CONFIG_PATH", str(tmp_path / "annotation_config.json"))
    monkeypatch.delenv("FIFTYONE_CVAT_CONFIG_CLS", raising=False)
    monkeypatch.setitem(fo.annotation_config.backends["cvat"], "config_cls", "mine.Config")

    cvat_registration.register()

    assert "FIFTYONE_CVAT_CONFIG_CLS" not in os.environ
    assert fo.annotation_config.backends["cvat"]["config_cls"] == "mine.Config"


def test_an_adapter_that_comes_after_fiftyone(fo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from forebay.fiftyone import cvat_registration

    builtin = "fiftyone.utils.cvat.CVATBackendConfig"
    monkeypatch.setenv("FIFTYONE_CVAT_CONFIG_CLS", "")
    monkeypatch.setitem(fo.annotation_config.backends["cvat"], "config_cls", builtin)

    cvat_registration.register()

    assert fo.annotation_config.backends["cvat"]["config_cls"] == cvat_registration.BACKEND
