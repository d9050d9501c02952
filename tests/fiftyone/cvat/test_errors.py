"""Errors with CVAT: the message says what to do, and nothing is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.cvat import CvatError, create_manifest
from forebay.errors import AccessDeniedError
from tests.cvat.images import image
from tests.cvat.standin import CVAT, KEY_FILE
from tests.fiftyone.cvat.conftest import NAMES, InCloud, attach
from tests.fiftyone.places import Places


def refused(samples: Any, cvat: CVAT, **arguments: Any) -> str:
    """Annotates, which must fail; then CVAT is as before, and so is the dataset: the key is free."""
    arguments = {"cloud_manifest": True, "label_field": "boxes"} | arguments
    with pytest.raises(CvatError) as raised:
        samples.annotate("run", **arguments)
    assert cvat.is_empty
    assert samples.list_annotation_runs() == []
    return str(raised.value)


def nothing_was_created(cvat: CVAT) -> bool:
    created = [asked for asked in cvat.asked if asked.startswith(("POST", "PUT", "PATCH"))]
    return set(created) <= {"POST /api/auth/login"}


def created_task(cvat: CVAT) -> int:
    """The number of the last task that was created, and is gone."""
    asked = " ".join(asked for asked in cvat.asked if asked.startswith("DELETE /api/tasks/"))
    return int(asked.rpartition("/")[2])


def without(places: Places, *names: str) -> None:
    """Takes images out of the manifest."""
    client, bucket = places.s3_server.client, places.s3_bucket
    lines = client.get_object(Bucket=bucket, Key="manifest.jsonl")["Body"].read().splitlines(keepends=True)
    kept = [
        line
        for line in lines
        if json.loads(line).get("name", "") + json.loads(line).get("extension", "") not in names
    ]
    places.put("s3", "manifest.jsonl", b"".join(kept))


# Before anything is created


def test_no_storage_for_the_bucket(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    cvat.storages.clear()
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT at {cvat.url} has no cloud storage for {in_s3.root} (S3 endpoint "
        f"{places.s3_server.endpoint}). To attach the bucket, run: forebay cvat attach "
        f"{in_s3.root.rstrip('/')}"
    )
    assert nothing_was_created(cvat)


def test_a_storage_of_the_same_name_elsewhere(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    """AWS has a bucket of this name as well: that is another one."""
    cvat.storages.clear()
    other = attach(places, cvat, specific_attributes="region=eu-west-1")
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT at {cvat.url} has no cloud storage for {in_s3.root} (S3 endpoint "
        f"{places.s3_server.endpoint}). Of the same name, but at another endpoint, there is {other} "
        f"('{places.s3_bucket}'): if that is the same bucket, pass cloud_storage_id={other}. To attach the "
        f"bucket, run: forebay cvat attach {in_s3.root.rstrip('/')}"
    )


def test_several_storages_that_fit(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    """Given three of them, which are two pages of CVAT's list."""
    more = [attach(places, cvat, display_name=name) for name in ("second", "third")]
    at = f"at {places.s3_server.endpoint}"
    first = in_s3.storage_id
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT at {cvat.url} has 3 cloud storages for {in_s3.root}: {first} ('{places.s3_bucket}' {at}), "
        f"{more[0]} ('second' {at}), {more[1]} ('third' {at}). Say which: cloud_storage_id={first}"
    )
    in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True, cloud_storage_id=more[1])


def test_no_storage_with_this_number(in_s3: InCloud, cvat: CVAT) -> None:
    assert refused(in_s3.dataset, cvat, cloud_storage_id=4711) == (
        f"CVAT at {cvat.url} has no cloud storage 4711. To attach the bucket, run: forebay cvat attach "
        f"{in_s3.root.rstrip('/')}"
    )


def test_the_storage_of_another_user(in_s3: InCloud, cvat: CVAT) -> None:
    number = in_s3.storage_id
    cvat.storages[number]["owner"] = {"id": 8, "username": "somebody"}
    assert refused(in_s3.dataset, cvat, cloud_storage_id=number) == (
        f"CVAT at {cvat.url} does not let this user use cloud storage {number}: it belongs to another user "
        f"or organization. Pass organization=, or attach the bucket: forebay cvat attach "
        f"{in_s3.root.rstrip('/')}"
    )


def test_the_storage_of_another_bucket(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    number = attach(places, cvat, resource="another", display_name="x", specific_attributes="")
    assert refused(in_s3.dataset, cvat, cloud_storage_id=number) == (
        f"CVAT's cloud storage {number} ('x') is the bucket 'another' (AWS_S3_BUCKET), but the samples lie "
        f"in {in_s3.root}"
    )


def test_a_storage_with_wrong_credentials(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    cvat.secrets[in_s3.storage_id]["secret_key"] = "wrong"
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT's cloud storage {in_s3.storage_id} ('{places.s3_bucket}' at {places.s3_server.endpoint}) is "
        f"of {in_s3.root}, but CVAT is refused by it: the credentials that CVAT was given are wrong, or "
        f"expired. Delete it in CVAT and attach the bucket again: forebay cvat attach "
        f"{in_s3.root.rstrip('/')}"
    )
    assert nothing_was_created(cvat)


@pytest.mark.parametrize("in_cloud", ["gs"], indirect=True)
def test_a_gcs_storage_with_a_wrong_key_file(in_cloud: InCloud, cvat: CVAT, places: Places) -> None:
    """Given the key file of a stranger, nothing is created; given a reader's, the images are there."""
    number = in_cloud.storage_id
    cvat.storages[number]["credentials_type"] = "KEY_FILE_PATH"
    cvat.secrets[number]["key_file"] = b"{}"
    assert refused(in_cloud.dataset, cvat) == (
        f"CVAT's cloud storage {number} ('{places.gcs_bucket}') is of {in_cloud.root}, but CVAT is refused "
        f"by it: the credentials that CVAT was given are wrong, or expired. Delete it in CVAT and attach the "
        f"bucket again: forebay cvat attach {in_cloud.root.rstrip('/')}"
    )
    assert nothing_was_created(cvat)

    cvat.secrets[number]["key_file"] = KEY_FILE
    in_cloud.dataset.annotate("run", label_field="boxes", cloud_manifest=True)
    assert [frame["name"] for task in cvat.tasks.values() for frame in task.frames] == list(NAMES)


def test_a_storage_whose_server_is_gone(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    endpoint = "http://127.0.0.1:9"
    cvat.storages[in_s3.storage_id]["specific_attributes"] = f"endpoint_url={endpoint}"
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT's cloud storage {in_s3.storage_id} ('{places.s3_bucket}' at {endpoint}) is of {in_s3.root}, "
        f"but CVAT does not find it: the bucket is gone, or its endpoint cannot be reached from CVAT. Delete "
        f"it in CVAT and attach the bucket again: forebay cvat attach {in_s3.root.rstrip('/')}"
    )


def test_no_manifest(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    places.s3_server.delete(places.s3_bucket, "manifest.jsonl")
    assert refused(in_s3.dataset, cvat) == (
        f"there is no manifest {in_s3.manifest}. Make it: forebay cvat manifest {in_s3.root}"
    )
    assert nothing_was_created(cvat)


def test_a_manifest_that_may_not_be_read(
    in_s3: InCloud, cvat: CVAT, places: Places, use_cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With wrong credentials of our own, too."""
    key, secret = places.s3_server.stranger
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    use_cache()
    with pytest.raises(AccessDeniedError) as raised:
        in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True)
    assert str(raised.value) == (
        f"{in_s3.manifest}: access denied (403 Forbidden: AccessDenied) with the AWS credentials in the "
        f"environment; check that they may read it"
    )
    assert nothing_was_created(cvat)
    assert in_s3.dataset.list_annotation_runs() == []


def test_samples_that_the_manifest_lacks(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    without(places, "z/a.jpg", "z/b c.jpg")
    assert refused(in_s3.dataset, cvat) == (
        f"2 of the 6 samples are not in {in_s3.manifest}: {in_s3.root}z/b c.jpg, {in_s3.root}z/a.jpg. "
        f"Add them: forebay cvat manifest {in_s3.root}z/"
    )
    assert nothing_was_created(cvat)


def test_more_samples_than_five_that_the_manifest_lacks(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    without(places, *(name.removeprefix(in_s3.root) for name in in_s3.dataset.values("filepath")))
    places.put("s3", "other.jpg", image(8, 8))
    lines = places.s3_server.client.get_object(Bucket=places.s3_bucket, Key="manifest.jsonl")["Body"].read()
    places.put("s3", "manifest.jsonl", lines + b'{"name":"other","extension":".jpg","width":8,"height":8}')
    five = ", ".join(f"{in_s3.root}{name}" for name in NAMES[:5])
    assert refused(in_s3.dataset, cvat) == (
        f"6 of the 6 samples are not in {in_s3.manifest}: {five}, …. Add them: forebay cvat manifest "
        f"{in_s3.root}"
    )


def test_a_broken_manifest(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    places.put("s3", "manifest.jsonl", b'{"version":"1.1"}\n{"type":"images"}\n\n{"name":"m"}')
    assert refused(in_s3.dataset, cvat) == (
        f"{in_s3.manifest}, line 3: it is empty, which CVAT does not skip. Rebuild it: forebay cvat "
        f"manifest {in_s3.root} --anew"
    )


def test_an_image_twice_in_the_manifest(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    line = b'{"name":"m","extension":".jpg","width":40,"height":48}\n'
    places.put("s3", "manifest.jsonl", b'{"version":"1.1"}\n{"type":"images"}\n' + line + line)
    assert refused(in_s3.dataset, cvat) == (
        f"{in_s3.manifest} names 'm.jpg' twice, so CVAT would make two frames of it. Rebuild it: forebay "
        f"cvat manifest {in_s3.root} --anew"
    )


def test_another_size_in_the_manifest(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    """The image was replaced: what CVAT would draw on is not what the sample says it is."""
    in_s3.dataset.compute_metadata()
    sample = in_s3.dataset.first()
    sample.metadata.width = 400
    sample.save()
    assert refused(in_s3.dataset, cvat) == (
        f"1 of the 6 samples is of another size in {in_s3.manifest} than in their metadata, so labels would "
        f"end up in the wrong places: {in_s3.root}m.jpg is 40x48 there and 400x48 here. Run "
        f"compute_metadata(overwrite=True), and rebuild the manifest: forebay cvat manifest {in_s3.root} "
        f"--anew"
    )


def test_another_size_in_another_media_field(
    fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, media_cache: MediaCache
) -> None:
    """FiftyOne would put the labels of an image of 40x48 at the same pixels of one of 20x24."""
    view = in_s3.dataset.limit(1)
    view.set_values("small", [places.put("s3", "small.jpg", image(20, 24))])
    create_manifest(view.values("small"), cache=media_cache)

    remedy = (
        "FiftyOne places labels by the metadata of the images in filepath: those in small must have the same "
        "sizes"
    )
    assert refused(view, cvat, media_field="small") == (
        f"1 of the 1 sample is of another size in {in_s3.manifest} than in their metadata, so labels would "
        f"end up in the wrong places: {in_s3.root}small.jpg is 20x24 there and 40x48 here. {remedy}"
    )
    given = {"cloud_manifest": None, "cloud_storage_id": in_s3.storage_id, "media_field": "small"}
    assert refused(view, cvat, **given).endswith(
        f", 'small.jpg', is 20x24 there, but the sample's metadata say 40x48; labels would end up in the "
        f"wrong places, so none were sent. {remedy}"
    )


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_an_image_that_cvat_turns_and_fiftyone_does_not(
    fo: Any, in_s3: InCloud, cvat: CVAT, places: Places, media_cache: MediaCache, format: str
) -> None:
    """CVAT heeds EXIF in all formats. That the two disagree cannot be mended by reading the sizes again."""
    name = f"z/turned.{format.lower()}"
    uri = places.put("s3", name, image(32, 24, orientation=6, format=format))
    in_s3.dataset.add_sample(fo.Sample(filepath=uri))
    create_manifest(in_s3.root, cache=media_cache)

    assert refused(in_s3.dataset, cvat) == (
        f"1 of the 7 samples is rotated by CVAT (EXIF) but not by FiftyOne, which rotates JPEG "
        f"images only, so labels would end up in the wrong places: {uri}. Save them upright, without an EXIF "
        f"orientation, run compute_metadata(overwrite=True), and rebuild the manifest: forebay cvat "
        f"manifest {in_s3.root} --anew"
    )
    assert nothing_was_created(cvat)

    assert refused(in_s3.dataset, cvat, cloud_manifest=None, cloud_storage_id=in_s3.storage_id) == (
        f"1 of the 7 samples is rotated by CVAT (EXIF) but not by FiftyOne, which rotates JPEG images only, "
        f"so labels would end up in the wrong places: {uri}. Save them upright, without an EXIF orientation, "
        f"and run compute_metadata(overwrite=True)"
    )
    assert nothing_was_created(cvat)


def test_an_image_that_is_gone(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    """FiftyOne must know the size of an image, to say where on it a label is."""
    places.s3_server.delete(places.s3_bucket, "z/a.jpg")
    assert refused(in_s3.dataset, cvat) == (
        f"the size of 1 of the 6 samples is not known, because their headers cannot be read: "
        f"{in_s3.root}z/a.jpg. compute_metadata(skip_failures=False) says why"
    )
    assert nothing_was_created(cvat)


def test_a_local_sample(fo: Any, in_s3: InCloud, cvat: CVAT, tmp_path: Path) -> None:
    path = tmp_path / "local.jpg"
    path.write_bytes(image(8, 8))
    in_s3.dataset.add_sample(fo.Sample(filepath=str(path)))
    assert refused(in_s3.dataset, cvat) == (
        f"1 of the 7 samples is not in a bucket, so CVAT cannot load them itself: {path}. Annotate them in a "
        f"run of their own, without cloud_manifest, or upload them to the bucket: fos.upload_media()"
    )
    assert nothing_was_created(cvat)


def test_two_buckets(fo: Any, in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    in_s3.dataset.add_sample(fo.Sample(filepath=places.put("gs", "a.jpg", image(8, 8))))
    assert refused(in_s3.dataset, cvat) == (
        f"the samples lie in 2 buckets, but CVAT's tasks load from one: {in_s3.root} (6), "
        f"{places.root('gs')} (1). Annotate a view of each, such as "
        f"dataset.match(F('filepath').starts_with('{in_s3.root}'))"
    )


def test_the_manifest_of_another_bucket(in_s3: InCloud, cvat: CVAT) -> None:
    assert refused(in_s3.dataset, cvat, cloud_manifest="s3://other/manifest.jsonl") == (
        f"cloud_manifest='s3://other/manifest.jsonl' is in another bucket than the samples, which lie in "
        f"{in_s3.root}"
    )


def test_a_local_manifest(in_s3: InCloud, cvat: CVAT) -> None:
    assert refused(in_s3.dataset, cvat, cloud_manifest="manifest.jsonl") == (
        f"cloud_manifest='manifest.jsonl' is a local file; CVAT reads the one in the bucket: pass its URI, "
        f"or True for {in_s3.manifest}"
    )


def test_outside_the_directory_of_the_manifest(in_s3: InCloud, cvat: CVAT) -> None:
    message = refused(in_s3.dataset, cvat, cloud_manifest=f"{in_s3.root}z/manifest.jsonl")
    assert message == (
        f"4 of the 6 samples are outside {in_s3.root}z/, the directory of the manifest, which names only "
        f"what is below it: {in_s3.root}m.jpg, {in_s3.root}a/ü.jpg, {in_s3.root}turned.jpg, "
        f"{in_s3.root}0.jpg. Use one at the root of the bucket: forebay cvat manifest {in_s3.root}"
    )


def test_one_image_of_two_samples(fo: Any, in_s3: InCloud, cvat: CVAT) -> None:
    in_s3.dataset.add_sample(fo.Sample(filepath=f"{in_s3.root}m.jpg"))
    assert refused(in_s3.dataset, cvat) == (
        f"1 of the images belong to several samples, but a task of CVAT's can have each once: "
        f"{in_s3.root}m.jpg. Annotate a view without the duplicates"
    )


def test_wrong_password(in_s3: InCloud, cvat: CVAT) -> None:
    assert refused(in_s3.dataset, cvat, password="wrong-secret") == (
        f"CVAT at {cvat.url} does not accept this username and password: Unable to log in with provided "
        f"credentials. They are FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD, or the arguments "
        f"username= and password="
    )


def test_no_server(in_s3: InCloud, cvat: CVAT) -> None:
    assert refused(in_s3.dataset, cvat, url="http://127.0.0.1:9") == (
        "CVAT cannot be reached at http://127.0.0.1:9 (ConnectionError): is the URL right, and the server up?"
    )


# After a task was created, which is removed


def test_an_import_that_fails(in_s3: InCloud, cvat: CVAT) -> None:
    def fail(_: Any) -> None:
        raise OSError("No space left on device")

    cvat.meddle = fail
    message = refused(in_s3.dataset, cvat, project_name="ours")
    assert message == (
        f"CVAT's import of the media of task {created_task(cvat)} failed: OSError: No space left on device"
    )


def test_an_import_that_fails_for_a_reason_of_several_lines(in_s3: InCloud, cvat: CVAT) -> None:
    """CVAT lists what it misses below its sentence, and the sentence is the reason."""

    def fail(_: Any) -> None:
        raise FileNotFoundError(
            "Uploaded files do no match the manifest.\nMismatching files:\n  m.jpg (upload)"
        )

    cvat.meddle = fail
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT's import of the media of task {created_task(cvat)} failed: FileNotFoundError: Uploaded files "
        f"do no match the manifest. Mismatching files: m.jpg (upload)"
    )


def test_an_import_of_what_is_gone_by_then(in_s3: InCloud, cvat: CVAT, places: Places) -> None:
    in_s3.dataset.compute_metadata()
    places.s3_server.delete(places.s3_bucket, "z/a.jpg")
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT's import of the media of task {created_task(cvat)} failed: NoSuchKey: An error occurred "
        f"(NoSuchKey) when calling the GetObject operation (reached max retries: 0): The specified "
        f"key does not exist."
    )


def test_a_hiccup_on_the_way_to_an_import_is_waited_out(in_s3: InCloud, cvat: CVAT) -> None:
    cvat.hiccups = 2
    in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True)
    assert len(cvat.tasks) == 1


def test_a_second_task_that_fails_takes_the_first_one_along(in_s3: InCloud, cvat: CVAT) -> None:
    def fail_at_the_second(frames: list[dict[str, Any]]) -> None:
        if len(cvat.tasks) == 2:
            raise OSError("the second")

    cvat.meddle = fail_at_the_second
    assert refused(in_s3.dataset, cvat, task_size=3).endswith("failed: OSError: the second")
    assert not [asked for asked in cvat.asked if asked == "POST /api/projects"]


def test_frames_in_another_order(in_s3: InCloud, cvat: CVAT) -> None:
    cvat.meddle = lambda frames: frames.sort(key=lambda frame: str(frame["name"]))
    assert refused(in_s3.dataset, cvat) == (
        f"frame 0 of CVAT's task {created_task(cvat)} is '0.jpg', but sample 0 is 'm.jpg'; labels would end "
        f"up on the wrong ones, so none were sent"
    )
    assert not [asked for asked in cvat.asked if asked.startswith("PUT")], "no label was sent"


def test_frames_that_are_missing(in_s3: InCloud, cvat: CVAT) -> None:
    cvat.meddle = lambda frames: frames.pop() and None
    assert refused(in_s3.dataset, cvat) == (
        f"CVAT's task {created_task(cvat)} has 5 frames for 6 samples; labels would end up on the wrong "
        f"ones, so none were sent"
    )


def test_frames_of_another_size(in_s3: InCloud, cvat: CVAT) -> None:
    cvat.meddle = lambda frames: frames[0].update(width=999)
    assert refused(in_s3.dataset, cvat) == (
        f"frame 0 of CVAT's task {created_task(cvat)}, 'm.jpg', is 999x48 there, but the sample's metadata "
        f"say 40x48; labels would end up in the wrong places, so none were sent. Run "
        f"compute_metadata(overwrite=True), and rebuild the manifest: forebay cvat manifest --anew"
    )


def test_labels_that_cvat_refuses_take_the_task_along(in_s3: InCloud, cvat: CVAT) -> None:
    """Given an import that went well, when the labels are refused, then the task is removed."""
    cvat.refuses_labels = True
    with pytest.raises(Exception, match="no labels today"):
        in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True)
    assert any(asked.startswith("PUT") for asked in cvat.asked)
    assert cvat.is_empty
    assert in_s3.dataset.list_annotation_runs() == []
