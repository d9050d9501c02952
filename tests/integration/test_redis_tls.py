"""Index and queue over TLS, with servers that want a certificate of each client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis

from forebay.errors import IndexUnavailableError
from forebay.index.connection import Connection
from tests.failover import all_there, cache_on, uris_of
from tests.servers.certificates import Authority, authority
from tests.servers.http_server import HTTPServer
from tests.servers.sentinel import NAME, SentinelGroup
from tests.servers.tls_proxy import TlsProxy
from tests.servers.valkey import Valkey
from tests.servers.workers import worker


@dataclass(frozen=True)
class Files:
    """The certificates of one client, and who signed them.

    Attributes:
        query: names them in a URL.
    """

    signer: Authority
    certificate: str
    key: str

    @property
    def query(self) -> str:
        return urlencode(
            {
                "ssl_ca_certs": self.signer.certificate,
                "ssl_certfile": self.certificate,
                "ssl_keyfile": self.key,
            }
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    signer = authority(tmp_path_factory.mktemp("certificates"))
    return Files(signer, *signer.signed("client"))


@pytest.fixture
def proxy(valkey: Valkey, files: Files) -> Iterator[TlsProxy]:
    with TlsProxy(valkey.port, files.signer) as proxy:
        yield proxy


def test_a_job_of_the_fleet(proxy: TlsProxy, files: Files, tmp_path: Path, http_server: HTTPServer) -> None:
    uris = uris_of(http_server, 50)
    url = f"rediss://127.0.0.1:{proxy.port}/0?{files.query}"
    cache = cache_on(url, tmp_path / "cache", http_server, dispatch="fleet")
    # The queue is in the next database, and reached in the same way.
    with worker(cache) as process:
        status = cache.download_media(uris).status()
        log = process.log.read_text()
    assert (status.downloaded, status.failed) == (50, 0)
    assert all_there(cache, uris)
    assert "insecure SSL" not in log
    assert set(proxy.clients) == {"client"}
    cache.close()


def test_behind_sentinels(
    files: Files, valkey: Valkey, tmp_path: Path, http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TlsProxy(valkey.port, files.signer, plain=True) as server:
        # A Sentinel tells clients the port at which it has found the master.
        group = SentinelGroup(tmp_path, [Valkey(server.port, tmp_path)], [], "", "watch-secret")
        group.add_sentinel(quorum=1, down_after_seconds=30.0)
        try:
            with TlsProxy(group.ports[0], files.signer) as watch:
                url = (
                    f"rediss+sentinel://127.0.0.1:{watch.port}/{NAME}/0"
                    f"?sentinel_password=watch-secret&{files.query}"
                )
                uris = uris_of(http_server, 20)
                cache = cache_on(url, tmp_path / "cache", http_server, dispatch="fleet")
                with worker(cache):
                    status = cache.download_media(uris).status()
                assert (status.downloaded, status.failed) == (20, 0)
                assert set(watch.clients) == set(server.clients) == {"client"}
                cache.close()
        finally:
            group.stop()


def test_what_is_wrong_with_certificates_is_said_at_once(
    proxy: TlsProxy, files: Files, http_server: HTTPServer, tmp_path: Path
) -> None:
    at = f"rediss://127.0.0.1:{proxy.port}/0"
    stranger = authority(tmp_path / "others", "somebody else")
    theirs, their_key = stranger.signed("stranger")
    variable = "FIFTYONE_MEDIA_CACHE_REDIS_URL"

    def told(url: str) -> str:
        with pytest.raises(IndexUnavailableError) as caught:
            Connection(url).ping()
        return str(caught.value)

    def with_query(**more: str) -> str:
        return told(f"{at}?{urlencode({'ssl_ca_certs': files.signer.certificate} | more)}")

    foreign = "and this client do not trust the same certificates"

    assert "wants a certificate of this client (" in with_query()
    assert foreign in with_query(ssl_certfile=theirs, ssl_keyfile=their_key)
    assert foreign in with_query(ssl_ca_certs=stranger.certificate)
    assert f"ssl_certfile and ssl_keyfile in {variable} do not belong to each other" in with_query(
        ssl_certfile=files.certificate, ssl_keyfile=their_key
    )
    # A Redis would wait for the end of the line.
    assert "does not speak TLS at that port" in told(f"rediss://127.0.0.1:{http_server.port}/0")
    missing = tmp_path / "no.crt"
    assert with_query(ssl_certfile=str(missing)) == (
        f"ssl_certfile in {variable} names {missing}, which cannot be read (No such file or directory): "
        "correct the path, or the rights of the file"
    )


def test_the_queue_checks_the_servers_certificate_by_default(proxy: TlsProxy, files: Files) -> None:
    from forebay.config import MediaCacheConfig
    from forebay.jobs.celery_app import broker_url, celery_app

    certificate = urlencode({"ssl_certfile": files.certificate, "ssl_keyfile": files.key})
    config = MediaCacheConfig(redis_url=f"rediss://127.0.0.1:{proxy.port}/0?{certificate}")
    app = celery_app(config, broker_url(config, ""))

    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        app.connection_for_write().transport.establish_connection()
