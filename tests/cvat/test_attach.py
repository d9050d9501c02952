"""Telling CVAT about buckets, with credentials that are given for that purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from forebay.config import MediaCacheConfig
from forebay.cvat import CvatError, CvatServer, attach
from forebay.cvat.buckets import CloudBucket
from forebay.cvat.server import reason_in
from forebay.errors import ConfigError, UriError
from tests.commands import Forebay
from tests.cvat.standin import CVAT, KEY_FILE, PASSWORD, TOKEN, USER, running_cvat
from tests.servers.azurite import AzureServer
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
    s3_server.put(s3_bucket, "manifest.jsonl", b"{}")

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


@pytest.mark.usefixtures("azurite_environment")
@pytest.mark.parametrize("scheme", ["az", "abfss"])
def test_a_container_of_azure(
    cvat: CVAT,
    azurite_server: AzureServer,
    azurite_container: str,
    forebay: Forebay,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    """CVAT gets the name of the account, and a SAS token for this purpose."""
    cvat.azure_endpoint = azurite_server.endpoint
    token = azurite_server.sas_token("rl")
    monkeypatch.setenv("FOREBAY_CVAT_STORAGE_SECRET_KEY", f"?{token}")
    host = f"@{azurite_server.account}.dfs.core.windows.net" if scheme == "abfss" else ""

    done = forebay("cvat", "attach", f"{scheme}://{azurite_container}{host}")

    assert (done.status, done.err) == (0, "")
    ((number, storage),) = cvat.storages.items()
    assert (storage["provider_type"], storage["resource"]) == ("AZURE_CONTAINER", azurite_container)
    assert storage["account_name"] == azurite_server.account
    assert cvat.secrets[number]["session_token"] == token
    assert azurite_server.key not in str((cvat.storages, cvat.secrets))


@pytest.mark.usefixtures("azurite_environment")
def test_an_account_key_is_not_passed_on(cvat: CVAT, azurite_container: str) -> None:
    with pytest.raises(ConfigError, match="set FOREBAY_CVAT_STORAGE_SECRET_KEY to a SAS token"):
        attach(f"az://{azurite_container}")
    assert cvat.asked == []


@pytest.mark.usefixtures("azurite_environment")
def test_an_account_key_is_no_sas(cvat: CVAT, azurite_server: AzureServer, azurite_container: str) -> None:
    with pytest.raises(ConfigError, match="to a SAS token that may only read and list") as raised:
        attach(f"az://{azurite_container}", secret_key=azurite_server.key)
    assert azurite_server.key not in str(raised.value)
    assert cvat.asked == []


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_the_account_of_a_container_may_be_given(
    cvat: CVAT,
    azurite_server: AzureServer,
    azurite_container: str,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    # Given settings that name no account
    cvat.azure_endpoint = azurite_server.endpoint
    key = azurite_server.account if by == "argument" else None
    if by == "variable":
        monkeypatch.setenv("FOREBAY_CVAT_STORAGE_KEY", azurite_server.account)

    attach(f"az://{azurite_container}", key=key, secret_key=azurite_server.sas_token("rl"))

    (storage,) = cvat.storages.values()
    assert storage["account_name"] == azurite_server.account
    assert storage["credentials_type"] == "ACCOUNT_NAME_TOKEN_PAIR"


def test_the_account_of_a_container_may_be_that_of_its_prefix(
    cvat: CVAT, azurite_server: AzureServer, azurite_container: str
) -> None:
    cvat.azure_endpoint = azurite_server.endpoint
    words = {"account": azurite_server.account, "anonymous": True}
    config = MediaCacheConfig(credentials={f"az://{azurite_container}/": words})

    attach(f"az://{azurite_container}", secret_key=azurite_server.sas_token("rl"), config=config)

    assert [storage["account_name"] for storage in cvat.storages.values()] == [azurite_server.account]


def test_an_account_in_the_uri_goes_before_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
    bucket = CloudBucket.of("abfss://day@other.dfs.core.windows.net/a", MediaCacheConfig())
    assert (bucket.name, bucket.account) == ("day", "other")


@pytest.mark.parametrize("anonymous", [True, False])
def test_an_account_that_is_not_known_is_asked_for(cvat: CVAT, anonymous: bool) -> None:
    with pytest.raises(
        ConfigError, match=r"account of az://day/ is not known: set AZURE_STORAGE_ACCOUNT, or"
    ):
        attach("az://day", secret_key="sig=x", anonymous=anonymous)
    assert cvat.asked == []


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
        f"CVAT at {cvat.url} cannot use s3://{s3_bucket}/ at {s3_server.endpoint}: credentials: Cannot "
        f"create resource {s3_bucket} with specified credentials. Access forbidden. Are the "
        f"credentials those of a user who may read and list s3://{s3_bucket}/?"
    )
    assert cvat.storages == {}


@pytest.mark.usefixtures("given")
def test_a_bucket_that_cvat_does_not_find(cvat: CVAT, s3_server: S3Server) -> None:
    """Given right credentials, when the name or the endpoint is wrong, credentials are no matter."""
    with pytest.raises(CvatError) as raised:
        attach("s3://there-is-none")
    assert str(raised.value) == (
        f"CVAT at {cvat.url} cannot use s3://there-is-none/ at {s3_server.endpoint}: resource: The resource "
        f"there-is-none not found. It may have been deleted. Is the name right, and does CVAT reach the "
        f"endpoint under this address? If not: --endpoint-url"
    )
    assert cvat.storages == {}


@pytest.mark.usefixtures("gcs_environment")
def test_a_gcs_bucket_that_cvat_does_not_find(cvat: CVAT) -> None:
    """Google's storage has no endpoint to be in doubt about."""
    with pytest.raises(CvatError) as raised:
        attach("gs://there-is-none", anonymous=True)
    assert str(raised.value) == (
        f"CVAT at {cvat.url} cannot use gs://there-is-none/: resource: The resource there-is-none not found. "
        f"It may have been deleted. Is the name right?"
    )


@pytest.mark.usefixtures("given")
def test_a_manifest_that_is_not_there(cvat: CVAT, s3_server: S3Server, s3_bucket: str) -> None:
    with pytest.raises(CvatError) as raised:
        attach(f"s3://{s3_bucket}", manifests=["nothere.jsonl"])
    assert str(raised.value) == (
        f"CVAT at {cvat.url} cannot use s3://{s3_bucket}/ at {s3_server.endpoint}: manifests: The "
        f"'nothere.jsonl' file does not exist on '{s3_bucket}' cloud storage. Make the manifest first: "
        f"forebay cvat manifest s3://{s3_bucket}/"
    )


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
def test_a_storage_that_cannot_be_removed_either(cvat: CVAT, s3_bucket: str) -> None:
    """The error is the first one, and names what is left."""
    cvat.status_after_attaching, cvat.keeps_storages = "FORBIDDEN", True

    with pytest.raises(CvatError) as raised:
        attach(f"s3://{s3_bucket}")

    assert "credentials that CVAT was given are wrong, or expired" in str(raised.value)
    assert str(raised.value).endswith(
        f". Left in CVAT: cloudstorage 1, {cvat.url}/cloudstorages/1 (Internal Server Error). Delete it there"
    )


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


@pytest.mark.parametrize(
    ("content", "content_type", "reason"),
    [
        (
            b"resource: The resource second not found.",
            "text/html",
            "resource: The resource second not found.",
        ),
        (b" \n<!doctype html><title>Server Error</title>", "text/html", "Bad Gateway"),
        (b"\n<html><body>nginx</body></html>", "text/plain", "Bad Gateway"),
        (b'{"detail": "a < b"}', "application/vnd.cvat+json", "a < b"),
        (b"", "text/html", "Bad Gateway"),
    ],
)
def test_only_what_begins_as_a_page_is_a_page(content: bytes, content_type: str, reason: str) -> None:
    """CVAT says text/html of plain text, too."""
    response = requests.Response()
    response.status_code, response.reason, response._content = 502, "Bad Gateway", content
    response.headers["Content-Type"] = content_type
    assert reason_in(response) == reason


def test_no_bucket() -> None:
    with pytest.raises(UriError, match="is in no bucket"):
        attach("https://example.com/photos/")
