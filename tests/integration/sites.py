"""The places that every source test runs over: a real server, and one way to reach it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from forebay.config import MediaCacheConfig
from forebay.sources.allowlist import Allowlist
from forebay.sources.azure import azure_source
from forebay.sources.azure_writer import azure_writer
from forebay.sources.base import Source
from forebay.sources.gcs import gcs_source
from forebay.sources.gcs_writer import gcs_writer
from forebay.sources.http import HTTPSource
from forebay.sources.s3 import minio_source, minio_writer, s3_source, s3_writer
from forebay.sources.writing import Writer
from forebay.uri import MediaURI, parse
from tests.integration.local_source import LocalSource, local_uri
from tests.servers.azurite import AzureServer
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server


@dataclass
class Site:
    """One kind of source on its server.

    Attributes:
        name: as in the test's id.
        source: under test.
        put: writes an object, for a key such as ``a/b.jpg``, and gives its URI.
        delete: removes it.
        uri: of a key, whether or not there is such an object.
        absent_bucket: a URI in a bucket that does not exist.
        proxy: in front of the server; ``None`` for local files.
        path: what the proxy sees of a key.
        another: makes a source like this one with other settings.
        writer: what writes there; ``None`` where nothing can.
    """

    name: str
    source: Source
    put: Callable[[str, bytes], MediaURI]
    delete: Callable[[str], None]
    uri: Callable[[str], MediaURI]
    absent_bucket: MediaURI | None
    proxy: Proxy | None
    path: Callable[[str], str]
    another: Callable[..., Source]
    writer: Writer | None = None


Kinds = dict[str, Callable[[pytest.FixtureRequest], "contextlib.AbstractContextManager[Site]"]]


def config(**settings: Any) -> MediaCacheConfig:
    """Settings whose time-outs suit tests on a busy machine."""
    return MediaCacheConfig(**{"connect_timeout_seconds": 5.0, "read_timeout_seconds": 20.0, **settings})


def bytes_of(source: Source, uri: MediaURI) -> bytes:
    """The whole object."""
    with source.open(uri) as opened:
        return b"".join(opened)


def _s3(scheme: str) -> Callable[[pytest.FixtureRequest], Any]:
    @contextlib.contextmanager
    def site(request: pytest.FixtureRequest) -> Iterator[Site]:
        server: S3Server = request.getfixturevalue("s3_server")
        monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
        bucket = server.create_bucket()
        with server.proxied() as proxy:
            variables = server.environment(proxy.endpoint)
            if scheme == "minio":
                variables = {
                    "MINIO_ENDPOINT_URL": proxy.endpoint,
                    "MINIO_ACCESS_KEY": server.access_key,
                    "MINIO_SECRET_ACCESS_KEY": server.secret_key,
                }
            for name, value in variables.items():
                monkeypatch.setenv(name, value)

            def put(key: str, body: bytes) -> MediaURI:
                server.put(bucket, key, body)
                return parse(f"{scheme}://{bucket}/{key}")

            def another(**settings: Any) -> Source:
                make = s3_source if scheme == "s3" else minio_source
                return make(config(**settings))

            yield Site(
                name=request.param,
                source=another(),
                put=put,
                delete=lambda key: server.delete(bucket, key),
                uri=lambda key: parse(f"{scheme}://{bucket}/{key}"),
                absent_bucket=parse(f"{scheme}://there-is-no-such-bucket/a"),
                proxy=proxy,
                path=lambda key: f"/{bucket}/{key}",
                another=another,
                writer=(s3_writer if scheme == "s3" else minio_writer)(config()),
            )

    return site


@contextlib.contextmanager
def _gcs(request: pytest.FixtureRequest) -> Iterator[Site]:
    server: GCSServer = request.getfixturevalue("gcs_server")
    bucket = server.create_bucket()
    with server.proxied() as proxy:
        request.getfixturevalue("monkeypatch").setenv("STORAGE_EMULATOR_HOST", proxy.endpoint)

        def another(**settings: Any) -> Source:
            return gcs_source(config(**settings))

        yield Site(
            name=request.param,
            source=another(),
            put=lambda key, body: parse(server.put(bucket, key, body)),
            delete=lambda key: server.delete(bucket, key),
            uri=lambda key: parse(f"gs://{bucket}/{key}"),
            absent_bucket=parse("gs://there-is-no-such-bucket/a"),
            proxy=proxy,
            path=lambda key: f"/{bucket}/{key}",
            another=another,
            writer=gcs_writer(config()),
        )


@contextlib.contextmanager
def _azure(request: pytest.FixtureRequest) -> Iterator[Site]:
    server: AzureServer = request.getfixturevalue("azurite_server")
    container = server.create_container()
    with server.proxied() as proxy:
        for name, value in server.environment(proxy.endpoint).items():
            request.getfixturevalue("monkeypatch").setenv(name, value)

        def another(**settings: Any) -> Source:
            return azure_source(config(**settings))

        yield Site(
            name=request.param,
            source=another(),
            put=lambda key, body: parse(server.put(container, key, body)),
            delete=lambda key: server.delete(container, key),
            uri=lambda key: parse(f"az://{container}/{key}"),
            absent_bucket=parse("az://there-is-no-such-container/a"),
            proxy=proxy,
            path=lambda key: f"/{server.account}/{container}/{key}",
            another=another,
            writer=azure_writer(config()),
        )


@contextlib.contextmanager
def _http(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Every URL is redirected once, to where the object is."""
    server: HTTPServer = request.getfixturevalue("http_server")
    with server.proxied() as proxy:

        def uri(key: str) -> MediaURI:
            return parse(f"{proxy.endpoint}/{quote(key)}")

        def put(key: str, body: bytes) -> MediaURI:
            server.put(f"/there/{quote(key)}", body, content_md5=True)
            server.redirect(f"/{quote(key)}", f"/there/{quote(key)}")
            return uri(key)

        def another(**settings: Any) -> Source:
            return HTTPSource(config(**settings), Allowlist([proxy.endpoint]))

        def delete(key: str) -> None:
            del server.resources[f"/there/{quote(key)}"]

        yield Site(
            name=request.param,
            source=another(),
            put=put,
            delete=delete,
            uri=uri,
            absent_bucket=None,
            proxy=proxy,
            path=lambda key: f"/there/{key}",
            another=another,
        )


@contextlib.contextmanager
def _local(request: pytest.FixtureRequest) -> Iterator[Site]:
    directory: Path = request.getfixturevalue("tmp_path")

    def uri(key: str) -> MediaURI:
        return local_uri(f"{directory}/{key}")

    def put(key: str, body: bytes) -> MediaURI:
        path = Path(uri(key).key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return uri(key)

    yield Site(
        name=request.param,
        source=LocalSource(),
        put=put,
        delete=lambda key: os.unlink(uri(key).key),
        uri=uri,
        absent_bucket=local_uri("/there/is/no/such/directory"),
        proxy=None,
        path=lambda key: key,
        another=lambda **settings: LocalSource(),
    )


SITES: Kinds = {
    "s3": _s3("s3"),
    "minio": _s3("minio"),
    "gcs": _gcs,
    "azure": _azure,
    "http": _http,
    "local": _local,
}
BUCKETS = [name for name in SITES if name not in ("http", "local")]
REMOTE = [name for name in SITES if name != "local"]
