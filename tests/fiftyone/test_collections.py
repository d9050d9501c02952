"""Collections of every shape: what is found in them, and what loops over them do."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.places import Places
from tests.servers.http_server import HTTPServer


def count(collection: Any, **arguments: Any) -> int:
    return int(collection.cache_stats(**arguments)["current_count"])


def everything(collection: Any) -> None:
    """Calls all that there is, without anything in particular to expect of it."""
    collection.download_media()
    collection.download_scenes()
    collection.cache_stats()
    collection.get_local_paths()
    with collection.download_context():
        for sample in collection:
            assert sample.local_path
    collection.clear_media()


# Shapes


def test_an_empty_collection(fo: Any, media_cache: MediaCache, remote_dataset: Any) -> None:
    everything(fo.Dataset())
    everything(remote_dataset.limit(0))
    assert fo.Dataset().get_local_paths() == []
    assert media_cache.stats()["current_count"] == 0


def test_media_fields_that_are_empty(remote_dataset: Any, fo: Any) -> None:
    remote_dataset.add_sample_field("mask", fo.EmbeddedDocumentField, embedded_doc_type=fo.Segmentation)
    remote_dataset.add_sample_field("things", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    sample = remote_dataset.first()
    sample["things"] = fo.Detections(detections=[fo.Detection(label="no mask", bounding_box=[0, 0, 1, 1])])
    sample.save()

    everything(remote_dataset)

    assert remote_dataset.get_local_paths("mask") == [None] * 12
    assert remote_dataset.get_local_paths("things") == [[None], *[None] * 11]


def test_the_same_file_in_many_samples(
    remote_masks: Any, fo: Any, http_server: HTTPServer, places: Places
) -> None:
    for sample in remote_masks.iter_samples(autosave=True):
        boxes = [[0.1 * n, 0.1, 0.1, 0.1] for n in range(5)]
        sample["boxes"] = fo.Detections(
            detections=[fo.Detection(label="box", bounding_box=box) for box in boxes]
        )
    patches = remote_masks.to_patches("boxes")
    assert len(patches) == 60
    seen: list[int] = []

    with patches.download_context(batch_size=7, progress=lambda bar: seen.append(bar.iteration)):
        for patch in patches:
            assert Path(patch.local_path).read_bytes() == places.contents[patch.filepath]

    assert seen == sorted(seen)
    assert seen[-1] == 60
    assert count(patches, media_fields="filepath") == 9
    asked = [r.target for r in http_server.requests if r.method == "GET"]
    assert len(asked) == len(set(asked))


def test_views_that_are_saved_and_grouped(remote_dataset: Any, fo: Any) -> None:
    remote_dataset.set_values("scene", [f"scene {n % 4}" for n in range(12)])
    remote_dataset.save_view("some", remote_dataset.match(fo.ViewField("scene") == "scene 0"))

    saved = remote_dataset.load_saved_view("some")
    everything(saved)
    saved.download_media()
    assert count(saved) == 3
    remote_dataset.clear_media()

    grouped = remote_dataset.group_by("scene")
    everything(grouped)
    grouped.download_media()
    assert count(grouped) == count(remote_dataset) == 9
    remote_dataset.clear_media()

    for group in grouped.iter_dynamic_groups():
        everything(group)
        group.download_media()
    assert count(remote_dataset) == 9


def test_dynamic_groups_of_grouped_datasets(remote_groups: Any) -> None:
    remote_groups.set_values("day", [f"day {n % 2}" for n in range(6)])

    by_day = remote_groups.group_by("day")
    everything(by_day)

    for day in by_day.iter_dynamic_groups():
        everything(day)


def test_a_slice_that_some_groups_lack(remote_groups: Any, places: Places) -> None:
    lonely = remote_groups.select_group_slices("left").first()
    remote_groups.delete_samples([lonely.id])

    everything(remote_groups)
    remote_groups.download_media()

    remaining = remote_groups.select_group_slices(["left", "right"]).values("filepath")
    assert len(remaining) == 11


def test_a_failure_in_a_group_names_the_sample_of_its_slice(
    remote_groups: Any, places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    view = remote_groups.select_group_slices("right")
    sample = view.first()
    sample.filepath = f"{places.root('s3')}gone.jpg"
    sample.save()

    remote_groups.download_media()

    assert f"gone.jpg: no such object (404 Not Found: NoSuchKey) (sample {sample.id})" in caplog.text


def test_collections_of_references_raise_what_fiftyone_raises(fo: Any) -> None:
    """Multimodal datasets refer to recordings; they have no filepaths."""
    from fiftyone.multimodal.media_reference.field_model import UnsupportedMediaReferenceOperation

    dataset = fo.Dataset()
    dataset._record_media_sources([{"id": "drive", "loc": "s3://bucket/drive.mcap"}])
    assert dataset._contains_media_references()
    for read in (lambda: dataset.values("filepath"), dataset.get_local_paths):
        with pytest.raises(UnsupportedMediaReferenceOperation):
            read()
    dataset.download_media()
    dataset.clear_media()


# Local collections


def test_local_collections_need_no_cache(
    fo: Any, photo_paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from forebay.fiftyone import local_media
    from tests.fiftyone.workflows.models import Plain

    local_media.close_cache()
    monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_CACHE_SIZE_BYTES", "a setting that would be refused")
    dataset = dataset_of(fo, photo_paths)

    dataset.download_media()
    with dataset.download_context(clear=True, update=True):
        dataset.apply_model(Plain(), label_field="seen")
    dataset.clear_media()

    assert dataset.get_local_paths() == [str(path) for path in photo_paths]
    assert None not in dataset.values("seen.label")


def test_a_workflow_over_local_samples_does_not_list_them(
    fo: Any, photo_paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from forebay.fiftyone import read_ahead

    dataset = dataset_of(fo, photo_paths)
    monkeypatch.setattr(read_ahead, "collect_media", lambda *_, **__: pytest.fail("the samples were listed"))

    with read_ahead.read_ahead(dataset), read_ahead.read_ahead(dataset[:3], media_fields=None):
        pass


@pytest.mark.parametrize(
    "uri", ["s3://b/k.jpg", "S3://b/k.jpg", "Https://h/k.jpg", "minio://b/k.jpg", "gs://b/k.jpg"]
)
def test_one_remote_sample_among_local_ones_is_found(fo: Any, photo_paths: list[Path], uri: str) -> None:
    from forebay.fiftyone.collection_media import has_remote

    dataset = dataset_of(fo, photo_paths)
    assert not has_remote(dataset, "filepath")

    dataset.add_sample(fo.Sample(filepath=uri))
    assert has_remote(dataset, "filepath")
    assert has_remote(dataset[:1], None)


def test_remote_masks_of_local_samples_are_found(fo: Any, photo_paths: list[Path]) -> None:
    from forebay.fiftyone.collection_media import collect_media, has_remote

    sample = fo.Sample(filepath=str(photo_paths[0]))
    detection = fo.Detection(label="a", bounding_box=[0, 0, 1, 1], mask_path="s3://bucket/mask.png")
    sample["things"] = fo.Detections(detections=[detection])
    dataset = fo.Dataset()
    dataset.add_sample(sample)

    assert not has_remote(dataset, "filepath")
    assert has_remote(dataset, None)
    assert collect_media(dataset).uris() == ["s3://bucket/mask.png"]


# Loops


def test_a_loop_in_another_order_or_over_some_samples(remote_dataset: Any, places: Places) -> None:
    for samples in (
        remote_dataset.sort_by("filepath", reverse=True),
        remote_dataset.shuffle(seed=1),
        remote_dataset.take(5, seed=2),
        remote_dataset[8:],
    ):
        remote_dataset.clear_media()
        seen: list[int] = []
        with remote_dataset.download_context(
            batch_size=2, progress=lambda bar, seen=seen: seen.append(bar.iteration)
        ):
            for sample in samples:
                assert Path(sample.local_path).read_bytes() == places.contents[sample.filepath]
        assert seen == sorted(seen)


def test_a_loop_that_runs_twice(remote_dataset: Any, places: Places, use_cache: UseCache) -> None:
    use_cache(cache_size_bytes=4 * max(map(len, places.contents.values())))

    with remote_dataset.download_context(batch_size=1):
        for _ in range(2):
            for sample in remote_dataset:
                assert Path(sample.local_path).read_bytes() == places.contents[sample.filepath]


def test_a_loop_that_ends_early(remote_dataset: Any, media_cache: MediaCache) -> None:
    with remote_dataset.download_context(batch_size=1):
        for sample in remote_dataset:
            assert sample.local_path
            break

    assert media_cache.leases() == []
    assert media_cache.jobs() == []
    assert count(remote_dataset) < 9


def test_an_error_in_the_loop_is_passed_on(remote_dataset: Any, media_cache: MediaCache) -> None:
    def fail() -> None:
        with remote_dataset.download_context():
            for _ in remote_dataset:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert media_cache.leases() == []


def test_contexts_within_contexts(remote_masks: Any, use_cache: UseCache, places: Places) -> None:
    from tests.fiftyone.workflows.models import Plain

    cache = use_cache(cache_size_bytes=4 * max(map(len, places.contents.values())))

    with remote_masks.download_context(batch_size=2), remote_masks[3:].download_context(batch_size=1):
        remote_masks.apply_model(Plain(), label_field="seen")
        for sample in remote_masks:
            assert sample.segmentation.get_mask() is not None

    assert None not in remote_masks.values("seen.label")
    assert cache.leases() == []


def test_two_threads_each_with_a_loop(remote_dataset: Any, places: Places) -> None:
    wrong: list[BaseException] = []

    def work(samples: Any) -> None:
        try:
            with samples.download_context(batch_size=2, clear=True):
                for sample in samples:
                    with open(sample.local_path, "rb") as file:
                        assert file.read() == places.contents[sample.filepath]
        except BaseException as error:
            wrong.append(error)

    views = [remote_dataset.view(), remote_dataset.sort_by("filepath", reverse=True)]
    threads = [threading.Thread(target=work, args=(view,)) for view in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_threads_within_a_loop(remote_dataset: Any, places: Places) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with remote_dataset.download_context(batch_size=4), ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda sample: sample.local_path, remote_dataset))

    contents = [places.contents[uri] for uri in remote_dataset.values("filepath")]
    assert [Path(path).read_bytes() for path in paths] == contents
