"""Telling CVAT about buckets, with credentials that are given for that purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.cvat import CvatError, CvatServer, attach
from forebay.errors import ConfigError, UriError
from tests.commands import Forebay
from tests.cvat.standin import CVAT, KEY_FILE, PASSWORD, TOKEN, USER, running_cvat
from tests.servers.gcs import GCSServer
from tests.servers.seaweedfs import S3Server


@pytest.fixture
def cvat(gcs_server: GCSServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CVAT]:
    """A CVAT server, and who logs in there."""
    with running_cvat(gcs_server.endpoint) as server:
        monkeypatch.setenv("FIFTYONE_CVAT_URL", server.url)
        monkeypatch.setenv("FIFTYONE_CVAT_USERNAME", USER)
        monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", PASSWORD)
        yield server


@pytest.fixture
def given(s3_server: S3Server, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials for CVAT."""
    monkeypatch.setenv("FOREBAY_CVAT_STORAGE_KEY", s3_server.access_key)
    monkeypatch.setenv("FOREBAY_CVAT_STORAGE_SECRET_KEY", s3_server.secret_key)


@pytest.mark.usefixtures("given")
def test_an_s3_bucket(cvat: CVAT, s3_server: S3Server, s3_bucket: str, forebay: Forebay) -> None:
    done = forebay("cvat", "attach", f"s3://{s3_bucket}", "--manifest", "manifest.jsonl")

    assert (done.status, done.err) == (0, "")
    assert done.out == (
        f"s3://{s3_bucket} is CVAT's cloud storage 1 ('{s3_bucket}' at {s3_server.endpoint})\n"
    )
    (storage,) = cvat.storages.values()
    assert storage["specific_attributes"] == f"region=us-east-1&endpoint_url={s3_server.endpoint}"
    assert storage["manifests"] == ["manifest.jsonl"]


def test_a_minio_bucket(
    cvat: CVAT, s3_server: S3Server, s3_bucket: str, forebay: Forebay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MinIO is S3 with an endpoint, to CVAT."""
    monkeypatch.setenv("MINIO_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("FOREBAY_CVAT_STORAGE_KEY", s3_server.access_key)
    monkeypatch.setenv("FOREBAY_CVAT_STORAGE_SECRET_KEY", s3_server.secret_key)

    done = forebay("cvat", "attach", f"minio://{s3_bucket}/", "--name", "ours", "--json")

    assert done.json["endpoint"] == s3_server.endpoint
    assert [storage["display_name"] for storage in cvat.storages.values()] == ["ours"]


@pytest.mark.usefixtures("gcs_environment")
def test_a_gcs_bucket(cvat: CVAT, gcs_bucket: str, tmp_path: Path, forebay: Forebay) -> None:
    key_file = tmp_path / "key.json"
    key_file.write_bytes(KEY_FILE)

    done = forebay("cvat", "attach", f"gs://{gcs_bucket}", "--key-file", str(key_file))

    assert (done.status, done.err) == (0, "")
    (number,) = cvat.storages
    assert cvat.storages[number]["provider_type"] == "GOOGLE_CLOUD_STORAGE"
    assert cvat.secrets[number]["key_file"] == KEY_FILE


@pytest.mark.usefixtures("gcs_environment")
def test_a_key_file_that_google_does_not_know(cvat: CVAT, gcs_bucket: str, tmp_path: Path) -> None:
    key_file = tmp_path / "key.json"
    key_file.write_bytes(b'{"type": "service_account", "client_email": "stranger@example.com"}')

    with pytest.raises(CvatError, match=f"cannot use gs://{gcs_bucket}/"):
        attach(f"gs://{gcs_bucket}", key_file=str(key_file))

    assert cvat.storages == {}


@pytest.mark.usefixtures("gcs_environment")
def test_a_public_bucket(cvat: CVAT, gcs_bucket: str) -> None:
    attach(f"gs://{gcs_bucket}", anonymous=True)
    assert [storage["credentials_type"] for storage in cvat.storages.values()] == ["ANONYMOUS_ACCESS"]


@pytest.mark.usefixtures("s3_environment")
def test_the_users_own_credentials_are_not_passed_on(cvat: CVAT, s3_bucket: str) -> None:
    """Given only the credentials of the environment, CVAT, which would keep them, does not get them."""
    with pytest.raises(ConfigError) as raised:
        attach(f"s3://{s3_bucket}")
    assert str(raised.value) == (
        "CVAT keeps the credentials of a storage, so give it some for this purpose: set "
        "FOREBAY_CVAT_STORAGE_KEY and FOREBAY_CVAT_STORAGE_SECRET_KEY to the keys of a user who may only "
        "read this bucket; for a public bucket use --anonymous"
    )
    assert cvat.asked == []


def test_nor_google_s(cvat: CVAT) -> None:
    with pytest.raises(ConfigError) as raised:
        attach("gs://photos")
    assert str(raised.value) == (
        "CVAT keeps the credentials of a storage, so give it some for this purpose: --key-file with that of "
        "a service account which may only read this bucket; for a public bucket use --anonymous"
    )


@pytest.mark.usefixtures("s3_environment")
def test_wrong_credentials_for_cvat(
    cvat: CVAT, s3_server: S3Server, s3_bucket: str, forebay: Forebay
) -> None:
    done = forebay("cvat", "attach", f"s3://{s3_bucket}", "--key", s3_server.stranger[0])
    assert (done.status, cvat.storages) == (2, {}), "there is no secret"

    with pytest.raises(CvatError) as raised:
        attach(f"s3://{s3_bucket}", key=s3_server.access_key, secret_key="wrong-secret")
    assert str(raised.value) == (
        f"CVAT at {cvat.url} cannot use s3://{s3_bucket}/ at {s3_server.endpoint}: resource: The resource "
        f"{s3_bucket} not found. It may have been deleted. Are the credentials those of the bucket, and "
        f"does CVAT reach the endpoint under this address? If not: --endpoint-url"
    )
    assert cvat.storages == {}


@pytest.mark.usefixtures("given")
def test_a_bucket_that_cvat_cannot_read_after_all(cvat: CVAT, s3_server: S3Server, s3_bucket: str) -> None:
    """Given a storage that was created, when CVAT then says that it is refused, the storage is removed."""
    cvat.status_after_attaching = "FORBIDDEN"

    with pytest.raises(CvatError) as raised:
        attach(f"s3://{s3_bucket}")

    assert str(raised.value) == (
        f"CVAT's cloud storage 1 ('{s3_bucket}' at {s3_server.endpoint}) is of s3://{s3_bucket}/, but CVAT "
        f"is refused by it: the credentials that CVAT was given are wrong, or expired. Delete it in CVAT and "
        f"attach the bucket again: forebay cvat attach s3://{s3_bucket}"
    )
    assert cvat.asked[-1] == "DELETE /api/cloudstorages/1"
    assert cvat.storages == {}


@pytest.mark.usefixtures("given")
def test_wrong_password(
    cvat: CVAT, s3_bucket: str, forebay: Forebay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIFTYONE_CVAT_PASSWORD", "wrong-secret")
    done = forebay("cvat", "attach", f"s3://{s3_bucket}")
    assert (done.status, done.err) == (
        1,
        f"error: CVAT at {cvat.url} does not accept this username and password: Unable to log in with "
        f"provided credentials.\n",
    )


def test_no_credentials_for_cvat(cvat: CVAT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIFTYONE_CVAT_PASSWORD")
    with pytest.raises(ConfigError) as raised:
        CvatServer.connect()
    assert str(raised.value) == (
        f"CVAT at {cvat.url} needs credentials: set FIFTYONE_CVAT_USERNAME and FIFTYONE_CVAT_PASSWORD, or "
        f"CVAT_ACCESS_TOKEN"
    )


def test_a_personal_access_token(cvat: CVAT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
    assert CvatServer.connect().get("/api/server/about")["version"] == "2.73.0"
    assert cvat.asked == ["GET /api/server/about"]


def test_no_bucket() -> None:
    with pytest.raises(UriError, match="is in no bucket"):
        attach("https://example.com/photos/")
