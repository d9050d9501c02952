"""Which URLs name objects of the servers of the settings, and which are URLs like any other."""

from __future__ import annotations

from typing import Any, cast

import pytest

from forebay.config import MediaCacheConfig
from forebay.errors import SourceError, SourceNotAllowedError
from forebay.sources.base import PageQuery, Source
from forebay.sources.credential_rules import CredentialRules
from forebay.sources.server_urls import ServerSource, ServerUrls
from forebay.sources.sources import Sources
from forebay.uri import parse

LAB = "https://minio.lab.example.com"


def stored(url: str, **settings: Any) -> tuple[str, str, str] | None:
    config = MediaCacheConfig(**settings)
    found = ServerUrls(config, CredentialRules(config)).stored(parse(url))
    return found and (found.scheme, found.bucket, found.key)


class TestOfMinio:
    @pytest.fixture(autouse=True)
    def lab(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MINIO_ENDPOINT_URL", LAB)

    @pytest.mark.parametrize(
        ("url", "key"),
        [
            (f"{LAB}/b/k.jpg", "k.jpg"),
            (f"{LAB}:443/b/k.jpg", "k.jpg"),
            ("HTTPS://MINIO.lab.example.com/b/k.jpg", "k.jpg"),
            (f"{LAB}/b/a/k.jpg#fragment", "a/k.jpg"),
            # Keys are exact.
            (f"{LAB}/b/a%20b+c%2Bd.jpg", "a b+c+d.jpg"),
            (f"{LAB}/b/%25.jpg", "%.jpg"),
            (f"{LAB}/b/a%3Fb%23c", "a?b#c"),
            (f"{LAB}/b/a//b/", "a//b/"),
            (f"{LAB}/b/%E2%82%AC", "€"),
            (f"{LAB}/b/../c/k", "../c/k"),
        ],
    )
    def test_an_object(self, url: str, key: str):
        assert stored(url) == ("minio", "b", key)

    @pytest.mark.parametrize(
        "url",
        [
            f"{LAB}/b/k.jpg?X-Amz-Signature=1",
            f"{LAB}/b/k.jpg?",
            f"{LAB}/b/",
            f"{LAB}/b",
            f"{LAB}/",
            f"{LAB}/b/%ff",
            f"{LAB}/b%2Fc/k",
            f"{LAB}:9000/b/k.jpg",
            f"{LAB}.evil.example.com/b/k.jpg",
            "https://me:secret@minio.lab.example.com/b/k.jpg",
            "http://minio.lab.example.com/b/k.jpg",
            "https://example.com/minio.lab.example.com/b/k.jpg",
            "minio://b/k.jpg",
        ],
    )
    def test_any_other_url(self, url: str):
        assert stored(url) is None

    def test_is_shown_as_it_was_given_and_keeps_its_entry(self):
        config = MediaCacheConfig()
        url = parse(f"{LAB}/b/k.jpg")
        found = ServerUrls(config, CredentialRules(config)).stored(url)
        assert found is not None
        assert (str(found), found.raw, found.entry) == (f"{LAB}/b/k.jpg", url.raw, url.entry)

    def test_what_may_not_be_read_of_the_store_is_no_object_of_it(self):
        # given a bucket of the server that is allowed, and no other
        sources = Sources(MediaCacheConfig(allowed_sources=["minio://b/"]))
        assert sources.trusts(parse(f"{LAB}/b/k.jpg"))
        for bucket in ("c", "b2"):
            with pytest.raises(SourceNotAllowedError):
                sources.check(parse(f"{LAB}/{bucket}/k.jpg"))
        # then a prefix for all URLs admits the others as such: without credentials, and from public addresses
        sources = Sources(MediaCacheConfig(allowed_sources=["minio://b/", "https://"]))
        assert not sources.trusts(parse(f"{LAB}/c/k.jpg"))

    def test_lists_and_writes_name_the_uri_to_use(self):
        sources, url = Sources(MediaCacheConfig()), parse(f"{LAB}/b/a/k.jpg")
        with pytest.raises(SourceError, match=r"URLs cannot be listed; write minio://b/a/k\.jpg"):
            next(iter(sources.for_uri(url).list(url)))
        with pytest.raises(SourceError, match=r"can only be read; write to minio://b/a/k\.jpg"):
            sources.writer_for(url)


class TestOfOtherSettings:
    def test_an_endpoint_with_a_path(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_ENDPOINT_URL", f"{LAB}/store/")
        assert stored(f"{LAB}/store/b/k") == ("minio", "b", "k")
        assert stored(f"{LAB}/stores/b/k") is None
        assert stored(f"{LAB}/b/k") is None

    def test_the_file_and_the_arguments(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
        file = tmp_path / "minio.ini"
        file.write_text(f"[default]\nendpoint_url={LAB}\n")
        assert stored(f"{LAB}/b/k", minio_config_file=str(file)) == ("minio", "b", "k")
        arguments = {"minio": {"endpoint_url": "http://10.0.0.1:9000"}}
        assert stored("http://10.0.0.1:9000/b/k", extra_client_kwargs=arguments) == ("minio", "b", "k")

    def test_of_the_azure_account(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        for host in ("https://photos.blob.core.windows.net", "http://127.0.0.1:10000/photos"):
            monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", host)
            assert stored(f"{host}/day/a%20b.jpg") == ("az", "day", "a b.jpg")
            assert stored(f"{host}/day/a.jpg?sv=1&sig=x") is None, "it has a SAS of its own"
        assert stored("https://other.blob.core.windows.net/day/a.jpg") is None

    def test_of_s3_each_place_that_names_it(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "https://third.example.com")
        assert stored("https://third.example.com/b/k") == ("s3", "b", "k")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", " https://second.example.com\n")
        assert stored("https://second.example.com/b/k") == ("s3", "b", "k")
        assert stored("https://third.example.com/b/k") is None
        first = {"extra_client_kwargs": {"s3": {"endpoint_url": LAB}}}
        assert stored(f"{LAB}/b/k", **first) == ("s3", "b", "k")
        assert stored("https://second.example.com/b/k", **first) is None

    def test_another_server_of_the_s3_protocol(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", LAB)
        assert stored(f"{LAB}/b/k") == ("s3", "b", "k")
        # MinIO's settings go first where both name the server.
        monkeypatch.setenv("MINIO_ENDPOINT_URL", LAB)
        assert stored(f"{LAB}/b/k") == ("minio", "b", "k")

    def test_a_rule_counts_for_its_own_buckets(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_ENDPOINT_URL", "https://first.example.com")
        rules = {"minio://b-*": {"endpoint_url": LAB}}
        assert stored(f"{LAB}/b-1/k", credentials=rules) == ("minio", "b-1", "k")
        assert stored(f"{LAB}/c/k", credentials=rules) is None
        assert stored("https://first.example.com/c/k", credentials=rules) == ("minio", "c", "k")
        assert stored("https://first.example.com/b-1/k", credentials=rules) is None

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"minio_config_file": "/there/is/none"},
            {"extra_client_kwargs": {"minio": {"endpoint_url": "nonsense"}}},
            {
                "credentials": {
                    "minio://b/": {"access_key_variable": "NOT_SET", "secret_key_variable": "NOT_SET"}
                }
            },
        ],
    )
    def test_settings_that_name_no_server_are_no_error_here(self, settings: dict[str, Any]):
        assert stored(f"{LAB}/b/k", **settings) is None


class Recorder:
    """A source that notes the calls of its methods."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: self.calls.append((name, arguments, named)) or name


class TestSourceOfThem:
    URL, STORED = parse(f"{LAB}/b/k"), parse("minio://b/k")

    @pytest.mark.parametrize(
        ("method", "arguments", "named"),
        [
            ("request", (), {"span": (0, 9), "etag": "e", "if_none_match": "n", "if_modified_since": 1.0}),
            ("request", (), {"span": None, "etag": None, "if_none_match": None, "if_modified_since": None}),
            ("describe", ("head",), {}),
            ("follow", ("request", "outcome"), {}),
            ("failure", ("outcome",), {}),
            ("open", (), {"if_none_match": "n", "if_modified_since": 1.0}),
            ("head", (), {}),
            ("read_range", (0, 9), {"etag": "e"}),
            ("read_start", (5,), {}),
            ("sign", (), {"expires_seconds": 60, "method": "HEAD"}),
        ],
    )
    def test_asks_the_store_with_all_that_it_is_asked(
        self, method: str, arguments: tuple[Any, ...], named: dict[str, Any]
    ):
        recorder = Recorder()
        source = ServerSource(cast(Source, recorder), lambda uri: self.STORED)
        assert getattr(source, method)(self.URL, *arguments, **named) == method
        assert recorder.calls == [(method, (self.STORED, *arguments), named)]

    def test_lists_nothing(self):
        recorder = Recorder()
        source = ServerSource(cast(Source, recorder), lambda uri: self.STORED)
        for listed in (lambda: source.page(self.URL, PageQuery("")), lambda: source.list(self.URL)):
            with pytest.raises(SourceError, match="URLs cannot be listed; write minio://b/k"):
                listed()
        assert recorder.calls == []
