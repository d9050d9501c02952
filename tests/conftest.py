"""Fixtures that every test may use: real servers, and an environment free of this machine's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server, seaweedfs

_FOREIGN = (
    "AWS_",
    "MINIO_",
    "GOOGLE_",
    "GCLOUD_",
    "CLOUDSDK_",
    "GCS_",
    "STORAGE_EMULATOR",
    "FIFTYONE_MEDIA_CACHE_",
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No credentials, profiles or settings of whoever runs the tests; returns the empty home directory."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    # Without these, the search for credentials asks the metadata servers of clouds that we are not in.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return home


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """SeaweedFS: `create_bucket`, `put`, `put_many`, `environment()`; see `tests.servers.seaweedfs`."""
    with seaweedfs() as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """A new, empty, private bucket."""
    return s3_server.create_bucket()


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[Proxy]:
    """A new `Proxy` in front of SeaweedFS: counts requests and injects faults. Use its `endpoint`."""
    with s3_server.proxied() as proxy:
        yield proxy


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets the AWS variables so that ``s3://`` means SeaweedFS, read as its administrator."""
    environment = s3_server.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment
