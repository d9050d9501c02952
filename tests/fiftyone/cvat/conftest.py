"""A CVAT server, and datasets whose media lie in a bucket that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.config import learn_aliases
from forebay.cvat import create_manifest
from tests.cvat.images import image
from tests.cvat.standin import CVAT, PASSWORD, USER, running_cvat
from tests.fiftyone.places import Places
from tests.servers.azurite import missing
from tests.servers.gcs import GCSServer


@pytest.fixture
def cvat(gcs_server: GCSServer, fo: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[CVAT]:
    """A new CVAT server that FiftyOne uses; at the end, everything asked and answered was right."""
    with running_cvat(gcs_server.endpoint) as server:
        parameters = {"url": server.url, "username": USER, "password": PASSWORD}
        for name, value in parameters.items():
            monkeypatch.setitem(fo.annotation_config.backends["cvat"], name, value)
        yield server


@dataclass
class InCloud:
    """Six images of different sizes in one bucket, in an order that is not that of their names.

    Attributes:
        dataset: with a box in the field ``boxes`` of each.
        root: of the bucket; ends with a slash.
        storage_id: of the cloud storage in CVAT.
    """

    dataset: Any
    root: str
    storage_id: int

    @property
    def manifest(self) -> str:
        return f"{self.root}manifest.jsonl"


_MINIO = ("minio", "lab")
NAMES = ("m.jpg", "z/b c.jpg", "a/ü.jpg", "turned.jpg", "z/a.jpg", "0.jpg")


@pytest.fixture(params=["s3", "gs", "minio", "lab", "az"])
def in_cloud(
    request: pytest.FixtureRequest,
    fo: Any,
    places: Places,
    cvat: CVAT,
    media_cache: MediaCache,
    monkeypatch: pytest.MonkeyPatch,
) -> InCloud:
    """In each kind of store, attached, and with a manifest at its root; "lab" is an alias of MinIO."""
    if request.param == "az" and (reason := missing()):
        pytest.skip(reason)
    server = places.s3_server
    monkeypatch.setenv("MINIO_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("MINIO_ACCESS_KEY", server.access_key)
    monkeypatch.setenv("MINIO_SECRET_ACCESS_KEY", server.secret_key)
    if request.param == "lab":
        monkeypatch.setenv("MINIO_ALIAS", "lab")
        learn_aliases()
    return _in_cloud(request.param, fo, places, cvat, media_cache)


@pytest.fixture
def in_s3(fo: Any, places: Places, cvat: CVAT, media_cache: MediaCache) -> InCloud:
    """As `in_cloud`, in S3 alone."""
    return _in_cloud("s3", fo, places, cvat, media_cache)


def attach(places: Places, cvat: CVAT, place: str = "s3", **fields: Any) -> int:
    """Makes the bucket known to CVAT."""
    if place == "gs":
        known = {"provider_type": "GOOGLE_CLOUD_STORAGE", "resource": places.gcs_bucket}
        return cvat.add_storage(**known, credentials_type="ANONYMOUS_ACCESS", **fields)
    if place == "az":
        assert places.azure is not None
        account, container = places.azure
        cvat.azure_endpoint = account.endpoint
        known = {"provider_type": "AZURE_CONTAINER", "resource": container, "account_name": account.account}
        token = account.sas_token("rl")
        return cvat.add_storage(
            **known, credentials_type="ACCOUNT_NAME_TOKEN_PAIR", session_token=token, **fields
        )
    server = places.s3_server
    known = {
        "provider_type": "AWS_S3_BUCKET",
        "resource": places.s3_bucket,
        "key": server.access_key,
        "secret_key": server.secret_key,
        "specific_attributes": f"region=us-east-1&endpoint_url={server.endpoint}",
    }
    return cvat.add_storage(**(known | fields))


def _in_cloud(place: str, fo: Any, places: Places, cvat: CVAT, cache: MediaCache) -> InCloud:
    dataset = fo.Dataset()
    for i, name in enumerate(NAMES):
        content = image(40 + 2 * i, 48, orientation=6 if name == "turned.jpg" else 1, seed=i)
        box = fo.Detection(label=f"thing {i}", bounding_box=[0.1, 0.2, 0.5, 0.05 * (i + 1)])
        uri = places.put(_store(place), name, content)
        if place in _MINIO:
            uri = uri.replace("s3://", f"{place}://")
        dataset.add_sample(fo.Sample(filepath=uri, boxes=fo.Detections(detections=[box]), number=i))
    root = places.root(_store(place))
    if place in _MINIO:
        root = root.replace("s3://", f"{place}://")
    create_manifest(root, cache=cache)
    return InCloud(dataset, root, attach(places, cvat, place))


def _store(place: str) -> str:
    """MinIO speaks S3; its URIs and its credentials are what is different."""
    return "s3" if place in _MINIO else place
