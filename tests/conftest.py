"""Fixtures that every test may use: real servers, and an environment free of this machine's settings."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from forebay.uri.aliases import forget
from forebay.volume.heartbeat import Heartbeat
from tests.servers.azurite import AzureServer, azurite, missing
from tests.servers.gcs import GCSServer, fake_gcs
from tests.servers.http_server import HTTPServer
from tests.servers.http_server import http_server as running_http_server
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server, seaweedfs

_FOREIGN = (
    "AWS_",
    "AZURE_",
    "MINIO_",
    "GOOGLE_",
    "GCLOUD_",
    "CLOUDSDK_",
    "GCS_",
    "STORAGE_EMULATOR",
    "FIFTYONE_MEDIA_CACHE_",
)
# That a machine is busy says nothing of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

# `make test &` in a script ignores Ctrl-C, and so would every process that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No credentials, profiles or settings of whoever runs the tests; returns the empty home directory."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    forget()
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    # Without these, the search for credentials asks the metadata servers of clouds that we are not in.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return home


@pytest.fixture(autouse=True)
def same_log_levels() -> Iterator[None]:
    """A command sets the levels of the whole process, and would hide messages from the tests after it."""
    loggers = [logging.getLogger(), logging.getLogger("forebay")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def no_heartbeat_outlives_its_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache that a test leaves open would go on to warn of its Redis, into the log of another test."""
    begun: list[Heartbeat] = []
    start = Heartbeat.start

    def recorded(heartbeat: Heartbeat, *, at_once: bool = False) -> None:
        begun.append(heartbeat)
        start(heartbeat, at_once=at_once)

    monkeypatch.setattr(Heartbeat, "start", recorded)
    yield
    for heartbeat in begun:
        heartbeat.stop()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """SeaweedFS: `create_bucket`, `put`, `put_many`, `environment()`; see `tests.servers.seaweedfs`."""
    with seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def other_s3_server() -> Iterator[S3Server]:
    """Another SeaweedFS, which does not know the keys of the first."""
    with seaweedfs(access_key="FOREBAYOTHERKEY", secret_key="other-secret-0123456789") as server:
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


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GCSServer]:
    """fake-gcs-server: `create_bucket`, `put`, `put_many`, `environment()`; see `tests.servers.gcs`."""
    with fake_gcs() as server:
        yield server


@pytest.fixture
def gcs_bucket(gcs_server: GCSServer) -> str:
    """A new, empty bucket."""
    return gcs_server.create_bucket()


@pytest.fixture
def gcs_proxy(gcs_server: GCSServer) -> Iterator[Proxy]:
    """A new `Proxy` in front of fake-gcs-server."""
    with gcs_server.proxied() as proxy:
        yield proxy


@pytest.fixture
def gcs_environment(gcs_server: GCSServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets ``STORAGE_EMULATOR_HOST`` so that ``gs://`` means fake-gcs-server."""
    environment = gcs_server.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzureServer]:
    """Azurite: `create_container`, `put`, `put_many`, `environment()`; see `tests.servers.azurite`."""
    if reason := missing():
        pytest.skip(reason)
    with azurite() as server:
        yield server


@pytest.fixture
def azurite_container(azurite_server: AzureServer) -> str:
    """A new, empty, private container."""
    return azurite_server.create_container()


@pytest.fixture
def azurite_proxy(azurite_server: AzureServer) -> Iterator[Proxy]:
    """A new `Proxy` in front of Azurite."""
    with azurite_server.proxied() as proxy:
        yield proxy


@pytest.fixture
def azurite_environment(azurite_server: AzureServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Sets the variables so that ``az://`` means Azurite, with an account's key."""
    environment = azurite_server.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
def http_server() -> Iterator[HTTPServer]:
    """A new, empty web server on 127.0.0.1: `put`, `redirect`, `requests`, `proxied()`.

    Its address is a loopback one, so a cache that is to fetch from it needs
    ``allowed_sources=[http_server.endpoint + "/"]``.
    """
    with running_http_server() as server:
        yield server


@pytest.fixture
def other_http_server() -> Iterator[HTTPServer]:
    """A web server on another host (127.0.0.2), for redirects from one host to another."""
    with running_http_server("127.0.0.2") as server:
        yield server


# What takes minutes is begun first, so that no process is left alone with it in the end.
_LONG = (
    "integration/test_redis_dies",
    "integration/test_worker_survival",
    "integration/test_redis_refusals",
    "integration/test_model",
    "integration/test_interleavings",
)


# What runs against real processes runs once more when it fails, and both runs are named at the end: on a
# machine that stands still for seconds, one of a thousand such tests fails. What is pure has no second run.
_PURE = "tests/unit/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the adapter come last: FiftyOne and torch stay in the process, with their threads."""
    items.sort(key=lambda item: ("tests/fiftyone/" in item.nodeid, not any(n in item.nodeid for n in _LONG)))
    for item in items:
        if not item.nodeid.startswith(_PURE):
            item.add_marker(pytest.mark.flaky(reruns=1))
