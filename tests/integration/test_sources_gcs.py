"""What is particular to Google Cloud Storage: credentials, signatures, keys, and packed objects."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from forebay.errors import AccessDeniedError, ConfigError, SourceError
from forebay.sources.base import Source
from forebay.sources.gcs import gcs_source
from forebay.uri import parse
from tests.integration.sites import bytes_of, config
from tests.servers import Fault, Proxy
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def account(tmp_path: Path, key: rsa.RSAPrivateKey, http_server: HTTPServer) -> str:
    """The key file of a service account that gets its tokens from `http_server` at ``/token``."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "account.json"
    path.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "project",
                "private_key_id": "1",
                "private_key": private.decode(),
                "client_email": "reader@project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": http_server.endpoint + "/token",
            }
        )
    )
    return str(path)


def serve_token(server: HTTPServer, token: str, *, expires_in: int = 3600) -> None:
    answer = {"access_token": token, "expires_in": expires_in, "token_type": "Bearer"}
    server.put("/token", json.dumps(answer).encode(), content_type="application/json")


def gcs(proxy: Proxy, *, credentials: str | None = None, **options: Any) -> Source:
    """The source under test; ``options`` are ``extra_client_kwargs["gs"]``."""
    options = {"client_options": {"api_endpoint": proxy.endpoint}, **options}
    settings = config(google_application_credentials=credentials, extra_client_kwargs={"gs": options})
    return gcs_source(settings)


class TestCredentials:
    def test_of_a_service_account_become_a_token(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy, http_server: HTTPServer, account: str
    ):
        uri = parse(gcs_server.put(gcs_bucket, "x", b"hello"))
        serve_token(http_server, "token-1")
        source = gcs(gcs_proxy, credentials=account)

        for _ in range(3):
            assert bytes_of(source, uri) == b"hello"
        assert [info.size for info in source.list(parse(f"gs://{gcs_bucket}/"))] == [5]

        assert {request.headers["authorization"] for request in gcs_proxy.requests} == {"Bearer token-1"}
        assert http_server.count("/token", "POST") == 1

    def test_that_are_about_to_expire_are_renewed(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy, http_server: HTTPServer, account: str
    ):
        uri = parse(gcs_server.put(gcs_bucket, "x", b"hello"))
        serve_token(http_server, "token-1", expires_in=60)
        source = gcs(gcs_proxy, credentials=account)
        assert bytes_of(source, uri) == b"hello"

        serve_token(http_server, "token-2")
        # Google is asked for another token after half a second at the earliest.
        for _ in range(1000):
            assert bytes_of(source, uri) == b"hello"
            if gcs_proxy.requests[-1].headers["authorization"] == "Bearer token-2":
                break
        else:
            pytest.fail("the token was never renewed")

    def test_that_a_server_refuses_are_renewed_for_listings_too(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy, http_server: HTTPServer, account: str
    ):
        uri = gcs_server.put(gcs_bucket, "x", b"hello")
        serve_token(http_server, "token-1")
        source = gcs(gcs_proxy, credentials=account)
        assert bytes_of(source, parse(uri)) == b"hello"
        serve_token(http_server, "token-2")
        gcs_proxy.fault(f"/storage/v1/b/{gcs_bucket}/o", Fault(status=401), times=1)

        assert [info.uri for info in source.list(parse(f"gs://{gcs_bucket}/"))] == [uri]
        assert gcs_proxy.requests[-1].headers["authorization"] == "Bearer token-2"

    def test_that_are_refused_a_token(
        self, gcs_bucket: str, gcs_proxy: Proxy, http_server: HTTPServer, account: str
    ):
        refusal = b'{"error": "invalid_grant", "error_description": "account not found"}'
        http_server.put("/token", refusal, status=400, content_type="application/json")

        with pytest.raises(AccessDeniedError, match=r"account\.json cannot be used: .*account not found"):
            gcs(gcs_proxy, credentials=account).open(parse(f"gs://{gcs_bucket}/x"))

    def test_are_none_where_none_are_found(self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy):
        uri = parse(gcs_server.put(gcs_bucket, "x", b"hello"))
        source = gcs(gcs_proxy)

        assert bytes_of(source, uri) == b"hello"
        assert requests.get(source.sign(uri), timeout=10).content == b"hello"
        assert all("authorization" not in request.headers for request in gcs_proxy.requests)

    def test_are_none_where_none_are_wanted(
        self,
        gcs_server: GCSServer,
        gcs_bucket: str,
        gcs_proxy: Proxy,
        account: str,
        monkeypatch: pytest.MonkeyPatch,
    ):
        Path(account).write_text('{"type": "external_account"}')
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", account)
        uri = parse(gcs_server.put(gcs_bucket, "x", b"hello"))

        assert bytes_of(gcs(gcs_proxy, anonymous=True), uri) == b"hello"
        assert "authorization" not in gcs_proxy.requests[0].headers

    @pytest.mark.parametrize("content", [None, "no JSON", '{"type": "nonsense"}'])
    def test_in_a_file_that_cannot_be_used(
        self, gcs_proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
    ):
        path = tmp_path / "key.json"
        if content is not None:
            path.write_text(content)

        with pytest.raises(ConfigError, match="setting google_application_credentials="):
            gcs(gcs_proxy, credentials=str(path))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        with pytest.raises(ConfigError, match="environment variable GOOGLE_APPLICATION_CREDENTIALS"):
            gcs(gcs_proxy)


class TestSettings:
    def test_the_project_to_bill_is_sent_along(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy
    ):
        uri = parse(gcs_server.put(gcs_bucket, "x", b"hello"))

        bytes_of(gcs(gcs_proxy, user_project="ours"), uri)

        assert gcs_proxy.requests[0].headers["x-goog-user-project"] == "ours"

    def test_an_unknown_option_is_a_configuration_error(self, gcs_proxy: Proxy):
        with pytest.raises(ConfigError, match="'gs' has no 'nonsense'; known are anonymous"):
            gcs(gcs_proxy, nonsense=1)

    def test_a_missing_package_is_named(self, gcs_proxy: Proxy, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "google.auth", None)

        with pytest.raises(SourceError, match=r"pip install 'forebay\[gcs\]'"):
            gcs(gcs_proxy)


def checked(url: str, key: rsa.RSAPrivateKey, method: str = "GET") -> dict[str, list[str]]:
    """The parameters of a URL whose signature holds. The emulator checks none; Google
    documents how to, for V4."""
    parts = urlsplit(url)
    query, _, signature = parts.query.rpartition("&X-Goog-Signature=")
    found = parse_qs(query)
    # What is signed is sorted by name.
    ordered = "&".join(sorted(query.split("&")))
    request = "\n".join([method, parts.path, ordered, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"])
    scope = found["X-Goog-Credential"][0].partition("/")[2]
    signed = ["GOOG4-RSA-SHA256", found["X-Goog-Date"][0], scope]
    signed.append(hashlib.sha256(request.encode()).hexdigest())
    key.public_key().verify(
        bytes.fromhex(signature), "\n".join(signed).encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    return found


class TestSignedURLs:
    def test_bear_the_signature_of_the_account(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy, account: str, key: rsa.RSAPrivateKey
    ):
        uri = parse(gcs_server.put(gcs_bucket, "a b/c+d.jpg", b"hello"))

        url = gcs(gcs_proxy, credentials=account).sign(uri, expires_seconds=120)

        query = checked(url, key)
        assert query["X-Goog-Expires"] == ["120"]
        assert requests.get(url, timeout=10).content == b"hello"

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
    def test_name_the_project_that_pays_so_that_a_browser_can_follow_them(
        self,
        gcs_server: GCSServer,
        gcs_bucket: str,
        gcs_proxy: Proxy,
        account: str,
        key: rsa.RSAPrivateKey,
        method: str,
    ):
        # given a bucket whose readers pay, by a project whose name must be quoted
        uri = parse(gcs_server.put(gcs_bucket, "a b.jpg", b"hello"))
        source = gcs(gcs_proxy, credentials=account, user_project="example.com:our project")

        url = source.sign(uri, expires_seconds=120, method=method)

        # then the URL says who does, in what is signed, and asks for no header
        query = checked(url, key, method)
        assert query["userProject"] == ["example.com:our project"]
        assert query["X-Goog-SignedHeaders"] == ["host"]
        if method == "GET":
            assert requests.get(url, timeout=10).content == b"hello"

    def test_name_no_project_unasked(self, gcs_bucket: str, gcs_proxy: Proxy, account: str):
        assert "userProject" not in gcs(gcs_proxy, credentials=account).sign(parse(f"gs://{gcs_bucket}/x"))

    def test_cannot_be_had_from_a_users_credentials(self, gcs_bucket: str, gcs_proxy: Proxy, account: str):
        user = {"type": "authorized_user", "client_id": "1", "client_secret": "s", "refresh_token": "r"}
        Path(account).write_text(json.dumps(user))

        with pytest.raises(SourceError, match="cannot sign URLs; that needs a service account's key file"):
            gcs(gcs_proxy, credentials=account).sign(parse(f"gs://{gcs_bucket}/x"))

    @pytest.mark.parametrize("seconds", [0, 604_801])
    def test_last_from_a_second_to_a_week(
        self, gcs_bucket: str, gcs_proxy: Proxy, account: str, seconds: int
    ):
        with pytest.raises(SourceError, match="from 1 s to 7 days"):
            gcs(gcs_proxy, credentials=account).sign(parse(f"gs://{gcs_bucket}/x"), expires_seconds=seconds)


UNTIDY_KEYS = [
    "a/../b",
    "../b",
    "a/..",
    "./b",
    "a/./b",
    "a//b",
    "/b",
    "b/",
    "new\nline",
    "null\0byte",
    "\x7f",
]


class TestUntidyKeys:
    @pytest.mark.parametrize("key", UNTIDY_KEYS, ids=repr)
    def test_are_asked_for_exactly(self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy, key: str):
        # Given objects where sloppy clients would look
        for other in ("b", "a", "a/b"):
            gcs_server.put(gcs_bucket, other, b"wrong")
        uri = parse(gcs_server.put(gcs_bucket, key, b"right"))
        source = gcs(gcs_proxy)

        assert bytes_of(source, uri) == b"right"
        assert bytes(source.read_range(uri, 0, 5)) == b"right"
        assert source.head(uri).size == 5

    def test_are_listed_exactly(self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy):
        uris = [gcs_server.put(gcs_bucket, key, b"x") for key in UNTIDY_KEYS]

        listed = [info.uri for info in gcs(gcs_proxy).list(parse(f"gs://{gcs_bucket}/"))]

        assert listed == sorted(uris)


class TestPackedObjects:
    @pytest.mark.parametrize("name", ["x.json", "a/b/picture"])
    def test_under_a_plain_name_are_unpacked(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy, name: str
    ):
        body = b"hello" * 1000
        uri = parse(gcs_server.put(gcs_bucket, name, gzip.compress(body), content_encoding="gzip"))
        source = gcs(gcs_proxy)

        with source.open(uri) as opened:
            assert (opened.info.size, opened.info.md5, opened.info.ranges) == (None, None, False)
            assert b"".join(opened) == body
        assert bytes(source.read_range(uri, 5, 8)) == b"hel"
        assert bytes(source.read_start(uri, 10).data) == b"hellohello"

    def test_come_as_they_are_stored_where_the_name_says_so(
        self, gcs_server: GCSServer, gcs_bucket: str, gcs_proxy: Proxy
    ):
        packed = gzip.compress(b"hello" * 1000)
        uri = parse(gcs_server.put(gcs_bucket, "x.json.gz", packed, content_encoding="gzip"))
        source = gcs(gcs_proxy)

        with source.open(uri) as opened:
            assert (opened.info.size, opened.info.md5) == (len(packed), hashlib.md5(packed).hexdigest())
            assert b"".join(opened) == packed
        assert bytes(source.read_range(uri, 0, 2)) == packed[:2]
