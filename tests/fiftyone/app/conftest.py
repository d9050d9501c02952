"""The App of FiftyOne with its real server, in a real browser, with media in real buckets.

The servers, the browser and the datasets are made once and used by all tests of this directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.fiftyone.app.browser import FLAGS
from tests.fiftyone.app.server import AppServer, app_server
from tests.fiftyone.places import Places
from tests.servers.azurite import AzureServer, missing
from tests.servers.gcs import GCSServer
from tests.servers.http_server import http_server
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import valkey


class Gallery(Places):
    """The places of this directory's media, through proxies that count what is asked of them."""

    s3: Proxy
    gcs: Proxy
    blobs: Proxy | None = None

    def environment(self) -> dict[str, str]:
        """The variables by which the stores are reached through their proxies."""
        variables = self.s3_server.environment(self.s3.endpoint) | self.gcs_server.environment(
            self.gcs.endpoint
        )
        if self.azure and self.blobs:
            variables |= self.azure[0].environment(self.blobs.endpoint)
        return variables

    def secrets(self) -> list[str]:
        """The keys by which the stores are reached."""
        return [self.s3_server.secret_key, *([self.azure[0].key] if self.azure else [])]

    def asked(self, path: str) -> list[Any]:
        """Every request so far for the object of a URI, in a store or behind a URL."""
        key = path.partition("://")[2].partition("/")[2]
        requests = [*self.s3.requests, *self.gcs.requests, *self.http_server.requests]
        requests += self.blobs.requests if self.blobs else []
        return [request for request in requests if key in request.path]


@pytest.fixture(scope="package")
def gallery(
    s3_server: S3Server,
    gcs_server: GCSServer,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Gallery]:
    """The server of this directory's media: `put`, `asked`."""
    with http_server() as web, s3_server.proxied() as s3, gcs_server.proxied() as gcs, ExitStack() as stack:
        directory = tmp_path_factory.mktemp("local")
        made = Gallery(
            s3_server, s3_server.create_bucket(), gcs_server, gcs_server.create_bucket(), web, directory
        )
        made.s3, made.gcs = s3, gcs
        if not missing():
            server: AzureServer = request.getfixturevalue("azurite_server")
            made.azure = server, server.create_container()
            made.blobs = stack.enter_context(server.proxied())
        yield made


@pytest.fixture(scope="package")
def start_app(
    gallery: Gallery,
    imported_fiftyone: Any,
    fiftyone_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., AppServer]]:
    """Starts the App's server with an empty cache of these settings; it ends after the last test."""
    with ExitStack() as stack:

        def start(**settings: Any) -> AppServer:
            directory = tmp_path_factory.mktemp("app")
            index = stack.enter_context(valkey(directory / "valkey"))
            environment = (
                fiftyone_environment
                | gallery.environment()
                | {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true"}
            )
            defaults: dict[str, Any] = {
                "cache_dir": str(directory / "cache"),
                "redis_url": index.url,
                "dispatch": "local",
                "grace_seconds": 0.0,
                "min_free_bytes": 0,
                "allowed_sources": ["s3://", "gs://", "az://", f"{gallery.http_server.endpoint}/"],
            }
            return stack.enter_context(app_server(environment, directory, **(defaults | settings)))

        yield start


@pytest.fixture(scope="package")
def app(start_app: Callable[..., AppServer]) -> AppServer:
    """The App as it is by default: looking caches nothing."""
    return start_app()


@pytest.fixture(scope="package")
def keeping_app(start_app: Callable[..., AppServer]) -> AppServer:
    """The App with ``cache_app_images``."""
    return start_app(cache_app_images=True)


@pytest.fixture(scope="package")
def signing_app(start_app: Callable[..., AppServer]) -> AppServer:
    """The App with ``app_signed_urls``, and with every URL allowed."""
    return start_app(app_signed_urls=True, allowed_sources=["s3://", "gs://", "az://", "http://"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium. While it runs, this process has a running event loop, which other tests may not have."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed; on Debian: sudo apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A new page, with nothing remembered."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def new_dataset(imported_fiftyone: Any) -> Iterator[Callable[..., Any]]:
    """Makes datasets of samples, which are deleted after the test."""
    made = []

    def make(*samples: Any) -> Any:
        made.append(imported_fiftyone.Dataset())
        made[-1].add_samples(list(samples))
        return made[-1]

    yield make
    for dataset in made:
        dataset.delete()


def pictures() -> Path | None:
    """The directory for the documentation's pictures of the pages; ``None`` to keep none."""
    found = os.environ.get("FOREBAY_TEST_PICTURES")
    return Path(found) if found else None
