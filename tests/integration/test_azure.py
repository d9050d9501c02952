"""Azure Blob Storage as teams have it: two accounts, logins, URLs of the account, wrong credentials."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from forebay.checks.doctor import examine
from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError
from forebay.sources.azure import azure_source
from forebay.sources.azure_writer import azure_writer
from forebay.uri import parse
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.azurite import AzureServer, azurite, azurites, missing
from tests.servers.workers import worker

pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))
ALLOWED = {"allowed_sources": ["az://"]}


@pytest.fixture(scope="module")
def accounts() -> Iterator[tuple[AzureServer, AzureServer]]:
    """Two accounts, with a container of the same name in each."""
    with azurites(["firstaccount", "secondaccount"]) as (first, second):
        yield first, second


@pytest.fixture
def filled(accounts: tuple[AzureServer, AzureServer]) -> dict[str, bytes]:
    """Blobs in a container of each account, by their URIs; those of the second are called ``other-…``."""
    first, second = accounts
    name = first.create_container()
    second.create_container(f"other-{name}")
    contents = {}
    for server, container in ((first, name), (second, f"other-{name}")):
        for number in range(8):
            body = f"{container} {number}".encode()
            contents[server.put(container, f"a/{number}.bin", body)] = body
    return contents


@pytest.fixture
def two(accounts: tuple[AzureServer, AzureServer], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings by which both accounts are used: one by its key, the other by its connection string."""
    first, second = accounts
    monkeypatch.setenv("FIRST_KEY", first.key)
    monkeypatch.setenv("SECOND_STRING", second.connection_string())
    rules = {
        "az://": {
            "account": first.account,
            "account_key_variable": "FIRST_KEY",
            "endpoint_url": first.endpoint,
        },
        "az://other-*": {"connection_string_variable": "SECOND_STRING"},
    }
    return {"credentials": rules, **ALLOWED}


class TestTwoAccounts:
    def test_in_one_job(self, make_cache: MakeCache, filled: dict[str, bytes], two: dict[str, Any]) -> None:
        cache = make_cache(**two)
        cache.download_media(list(filled), progress=False)
        assert {uri: Path(cache.local_path(uri)).read_bytes() for uri in filled} == filled

    def test_through_the_fleet(
        self, make_cache: MakeCache, filled: dict[str, bytes], two: dict[str, Any]
    ) -> None:
        cache = make_cache(dispatch="fleet", **two)
        with worker(cache):
            cache.download_media(list(filled), progress=False)
        assert cache.stats(filled)["current_count"] == len(filled)
        assert {uri: Path(cache.local_path(uri)).read_bytes() for uri in filled} == filled

    def test_a_rule_is_named_where_its_key_is_wrong(
        self,
        make_cache: MakeCache,
        filled: dict[str, bytes],
        two: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("FIRST_KEY", "d3Jvbmcta2V5LQ==")
        cache = make_cache(**two)
        with pytest.raises(AccessDeniedError) as raised:
            cache.local_path(next(iter(filled)))
        said = "the Azure account key in the environment variable FIRST_KEY, by the prefix 'az://'"
        assert said in str(raised.value)
        assert Path(cache.local_path(list(filled)[-1])).read_bytes(), "the other account is not concerned"


class TestNames:
    def test_of_one_blob(
        self, make_cache: MakeCache, azurite_server: AzureServer, azurite_environment: dict[str, str]
    ) -> None:
        # Given a blob with a name that URLs write in another way
        container = azurite_server.create_container()
        key = "a dir/ü #1%.jpg"
        uri = azurite_server.put(container, key, b"pixels")
        domain = f"{azurite_server.account}.dfs.core.windows.net"
        cache = make_cache(**ALLOWED)

        # When it is asked for by each of them, then it is that blob
        for name in (
            uri,
            f"abfs://{container}@{domain}/{key}",
            f"abfss://{container}@{domain}/{key}",
            f"{azurite_server.endpoint}/{container}/a%20dir/%C3%BC%20%231%25.jpg",
        ):
            assert Path(cache.local_path(name)).read_bytes() == b"pixels"

    def test_a_url_of_the_account_is_refused_where_az_is(
        self, make_cache: MakeCache, azurite_server: AzureServer, azurite_environment: dict[str, str]
    ) -> None:
        container = azurite_server.create_container(public=True)
        azurite_server.put(container, "a.jpg", b"pixels")
        cache = make_cache(allowed_sources=["http://"])
        findings = {f.name: f for f in examine(cache, f"{azurite_server.endpoint}/{container}/a.jpg")}
        assert "private address" in findings["source"].message

    def test_of_a_listing_are_those_that_were_asked_for(
        self, forebay: Forebay, azurite_server: AzureServer, azurite_environment: dict[str, str]
    ) -> None:
        container = azurite_server.create_container()
        azurite_server.put_many(container, {f"p/{number}.jpg": b"x" for number in range(3)})
        prefix = f"abfss://{container}@{azurite_server.account}.dfs.core.windows.net/p/"
        done = forebay("prefetch", prefix, allowed_sources="az://")
        assert "3 of 3 samples cached" in done.out
        assert forebay("get", f"{prefix}2.jpg", allowed_sources="az://").status == 0


class _Identity(BaseHTTPRequestHandler):
    """The endpoint of a managed identity, as App Service has it."""

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        now = int(time.time())
        claims = {
            "aud": self.server.audience,  # type: ignore[attr-defined]
            "iss": "https://sts.windows.net/00000000-0000-0000-0000-000000000000/",
            "oid": "11111111-1111-1111-1111-111111111111",
            "tid": "00000000-0000-0000-0000-000000000000",
            "iat": now,
            "nbf": now - 10,
            "exp": now + 3600,
            "number": self.server.asked,  # type: ignore[attr-defined]
        }
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in ({"alg": "none"}, claims)
        ]
        body = json.dumps(
            {
                "access_token": ".".join([*parts, "c2ln"]),
                "expires_on": str(now + 3600),
                "token_type": "Bearer",
                "resource": "https://storage.azure.com",
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...


@pytest.fixture(scope="module")
def admitting() -> Iterator[AzureServer]:
    """An Azurite that admits logins."""
    with azurite("loginaccount", tls=True, oauth=True) as server:
        yield server


@pytest.fixture
def login(admitting: AzureServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A managed identity, and an account without a key."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Identity)
    server.asked, server.audience = 0, "https://storage.azure.com"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in admitting.environment().items():
        if name != "AZURE_STORAGE_KEY":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    with ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield server
    server.server_close()


class TestLogin:
    def test_reads_lists_and_writes_with_one_token(
        self, admitting: AzureServer, login: ThreadingHTTPServer, tmp_path: Path
    ) -> None:
        # Given a container of an account whose key is not configured
        container = admitting.create_container()
        uris = admitting.put_many(container, {f"{number}": b"pixels" for number in range(3)})
        source = azure_source(MediaCacheConfig())

        # Then it is read and listed by a token that is asked for once
        assert [info.uri for info in source.list(parse(f"az://{container}/"))] == uris
        for uri in uris:
            with source.open(parse(uri)) as stream:
                assert b"".join(bytes(piece) for piece in stream) == b"pixels"
        assert login.asked == 1  # type: ignore[attr-defined]
        assert source.explain(parse(uris[0])).startswith("the login that DefaultAzureCredential finds; ")

        # And it is written
        (tmp_path / "new").write_bytes(b"new pixels")
        with (tmp_path / "new").open("rb") as file:
            info = azure_writer(MediaCacheConfig()).put(parse(f"az://{container}/new"), file, 10)
        assert info.size == 10

    def test_signs_urls_with_a_key_that_azure_lends(
        self, admitting: AzureServer, login: ThreadingHTTPServer
    ) -> None:
        uri = admitting.put(admitting.create_container(), "a b.jpg", b"pixels")
        source = azure_source(MediaCacheConfig())
        first, second = (source.sign(parse(uri), expires_seconds=60) for _ in range(2))
        # Azurite does not know the newest form of these signatures, so the URL cannot be tried on it.
        parts = parse_qs(urlsplit(first).query)
        assert first.startswith(f"{admitting.endpoint}/") and "a%20b.jpg?" in first
        assert {"skoid", "sktid", "ske", "sig"} <= parts.keys()
        assert parts["sp"] == ["r"]
        assert parts["ske"] == parse_qs(urlsplit(second).query)["ske"], "one key is lent for many URLs"

    def test_that_is_for_something_else_is_said(
        self, admitting: AzureServer, login: ThreadingHTTPServer
    ) -> None:
        login.audience = "https://management.azure.com"  # type: ignore[attr-defined]
        uri = admitting.put(admitting.create_container(), "a", b"pixels")
        with pytest.raises(AccessDeniedError, match="with the login that DefaultAzureCredential finds"):
            azure_source(MediaCacheConfig()).head(parse(uri))
