"""A URL of the server of the settings is read with its credentials, at a private address too."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from forebay.errors import AccessDeniedError, SourceNotAllowedError
from forebay.remote import Remote
from tests.caches import MakeCache
from tests.servers.seaweedfs import S3Server

ALLOWED = ["minio://", "https://", "http://"]


@pytest.fixture
def urls(s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """URLs of private objects, one of them large; the server is that of ``minio://``."""
    for name, value in (
        ("ENDPOINT_URL", s3_server.endpoint),
        ("ACCESS_KEY", s3_server.access_key),
        ("SECRET_ACCESS_KEY", s3_server.secret_key),
    ):
        monkeypatch.setenv(f"MINIO_{name}", value)
    s3_server.put(s3_bucket, "a b+%.bin", b"pixels")
    s3_server.put(s3_bucket, "large.bin", bytes(20_000_000))
    return [f"{s3_server.endpoint}/{s3_bucket}/{name}" for name in ("a%20b+%25.bin", "large.bin")]


def test_a_job(make_cache: MakeCache, urls: list[str], s3_bucket: str):
    cache = make_cache(allowed_sources=ALLOWED)
    assert cache.download_media(urls, progress=False).status().downloaded == 2
    assert [Path(cache.local_path(url)).stat().st_size for url in urls] == [6, 20_000_000]
    assert "/media/http/127.0.0.1:" in cache.local_path(urls[0])
    # Copied elsewhere, and by a signed URL, as other objects.
    remote = Remote(cache)
    remote.copy(urls[0], f"minio://{s3_bucket}/copy")
    assert bytes(remote.read_range(f"minio://{s3_bucket}/copy", 0, 9)) == b"pixels"
    assert remote.head(urls[0]).uri == urls[0]
    assert requests.get(remote.sign(urls[0], 60), timeout=20).content == b"pixels"


def test_with_wrong_keys_the_url_is_named_and_the_credentials(
    make_cache: MakeCache, urls: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MINIO_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessDeniedError, match="with the MinIO credentials") as raised:
        make_cache(allowed_sources=ALLOWED).local_path(urls[0])
    assert str(raised.value).startswith(f"{urls[0]}: ")


def test_any_other_url_of_a_private_address_is_refused(make_cache: MakeCache, urls: list[str]):
    for allowed, url in ((ALLOWED, f"{urls[0]}?x=1"), (["minio://another/", "http://"], urls[0])):
        with pytest.raises(SourceNotAllowedError, match="leads to the private address"):
            make_cache(allowed_sources=allowed).local_path(url)
