"""`extra_client_kwargs`: whatever stands in it is used, or is an error that names the setting."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.sources import client_words
from forebay.sources.allowlist import Allowlist
from forebay.sources.aws import aws_access
from forebay.sources.azure_access import azure_access
from forebay.sources.gcs_access import gcs_access
from forebay.sources.http import HTTPSource
from forebay.sources.minio import minio_access
from forebay.sources.sources import Sources
from forebay.uri import parse

ACCESS: dict[str, Callable[[MediaCacheConfig], Any]] = {
    "s3": aws_access,
    "minio": minio_access,
    "gs": gcs_access,
    "gcs": gcs_access,
    "azure": azure_access,
    "http": lambda config: HTTPSource(config, Allowlist(["http://"])),
}
# Words, and values that they cannot have.
WRONG: list[tuple[str, dict[str, Any]]] = [
    *(
        (client, arguments)
        for client in ("s3", "minio")
        for arguments in (
            {"connect_timeout": "x"},
            {"config": {"read_timeout": "x"}},
            {"config": {"connect_timeout": -1}},
            {"s3": 3},
            {"proxies": 3},
            {"proxies": {"http": 3}},
            {"config": 3},
            {"verify": 3},
            {"aws_access_key_id": 3},
            {"region_name": 3},
            {"endpoint_url": 3},
            {"config": {"client_cert": 3}},
            {"config": {"user_agent": 3}},
            {"config": {"retries": "many"}},
            {"max_pool_connections": "many"},
        )
    ),
    *(
        (client, arguments)
        for client in ("gs", "gcs")
        for arguments in (
            {"client_options": 3},
            {"client_options": {"api_endpoint": 3}},
            {"extra_headers": 3},
            {"extra_headers": {"x": 3}},
            {"user_project": 3},
            {"config": 3},
            {"config": {"nonsense": 1}},
        )
    ),
    *(
        ("azure", arguments)
        for arguments in (
            {"retry_total": "many"},
            {"read_timeout": True},
            {"connection_timeout": 0},
            {"proxies": 3},
            {"verify": 3},
            {"headers": 3},
            {"account_name": 3},
            {"account_url": 3},
            {"config": 3},
            {"config": {"nonsense": 1}},
            {"credential": "a-key"},
        )
    ),
    *(
        ("http", arguments)
        for arguments in (
            {"headers": "x"},
            {"headers": {"x": 3}},
            {"auth": "user"},
            {"auth": 3},
            {"proxies": 3},
            {"verify": 3},
            {"cert": 3},
        )
    ),
]
USED: list[tuple[str, dict[str, Any]]] = [
    ("s3", {"max_pool_connections": 50, "retries": {"max_attempts": 3}, "config": {"s3": {}}}),
    ("minio", {"endpoint_url": "http://minio:9000", "verify": False, "config": {"proxies": {}}}),
    ("gs", {"anonymous": True, "config": {"user_project": "ours", "extra_headers": {"x-y": "z"}}}),
    ("azure", {"sas_token": "sv=1&sig=x", "account_name": "photos", "config": {"max_single_get_size": 1}}),
    ("http", {"headers": {"x-y": "z"}, "auth": ["user", "password"], "proxies": {"http": None}}),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setenv("MINIO_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
    monkeypatch.setenv("AZURE_STORAGE_KEY", "c2VjcmV0LWtleQ==")
    monkeypatch.setattr(client_words, "_told", set())


def ids(value: object) -> str:
    return str(value)


@pytest.mark.parametrize(("client", "arguments"), WRONG, ids=ids)
def test_a_value_that_cannot_be_used_is_named(client: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"extra_client_kwargs") as raised:
        ACCESS[client](MediaCacheConfig(extra_client_kwargs={client: arguments}))
    assert "a-key" not in str(raised.value)


@pytest.mark.parametrize(("client", "arguments"), USED, ids=ids)
def test_what_the_user_has_is_not_changed(client: str, arguments: dict[str, Any]) -> None:
    config = MediaCacheConfig(extra_client_kwargs={client: arguments})
    before = copy.deepcopy(config.extra_client_kwargs)
    access = ACCESS[client](config)
    if client in ("s3", "minio"):
        access.client()
    assert config.extra_client_kwargs == before


@pytest.mark.parametrize(
    ("client", "arguments", "word"),
    [
        ("s3", {"max_pool_connections": 50}, "max_pool_connections"),
        ("gs", {"use_auth_w_custom_endpoint": False}, "use_auth_w_custom_endpoint"),
        ("azure", {"max_single_get_size": 1}, "max_single_get_size"),
    ],
)
def test_a_word_that_means_nothing_to_downloads_is_told_once(
    client: str,
    arguments: dict[str, Any],
    word: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Another test of this process may have been told.
    monkeypatch.setattr("forebay.sources.client_words._told", set())
    caplog.set_level(logging.INFO)
    for _ in range(2):
        ACCESS[client](MediaCacheConfig(extra_client_kwargs={client: arguments}))
    told = [record.getMessage() for record in caplog.records if word in record.getMessage()]
    assert told == [f"{word!r} in extra_client_kwargs for {client!r} means nothing to downloads"]


@pytest.mark.parametrize(
    ("settings", "uri"),
    [
        ({"extra_client_kwargs": {"s3": {"endpoint_url": 3}}}, "s3://bucket/a"),
        ({"extra_client_kwargs": {"minio": {"endpoint_url": 3}}}, "minio://bucket/a"),
        ({"extra_client_kwargs": {"azure": {"account_url": 3}}}, "az://container/a"),
        (
            {
                "extra_client_kwargs": {"gs": {"client_options": 3}},
                "credentials": {"gs://bucket/": {"endpoint_url": "http://127.0.0.1:1"}},
            },
            "gs://bucket/a",
        ),
    ],
    ids=ids,
)
def test_a_wrong_endpoint_is_the_error_of_its_own_scheme(settings: dict[str, Any], uri: str) -> None:
    sources = Sources(MediaCacheConfig(**settings))
    sources.for_uri(parse("https://example.com/a"))
    with pytest.raises(ConfigError, match="extra_client_kwargs"):
        sources.for_uri(parse(uri))


def test_two_names_of_one_client_are_not_both_used() -> None:
    with pytest.raises(ConfigError, match="'gcs' and 'gs' are two names of one client"):
        MediaCacheConfig(extra_client_kwargs={"gs": {}, "gcs": {}})


def test_headers_of_google_go_along_with_every_request() -> None:
    config = MediaCacheConfig(extra_client_kwargs={"gs": {"extra_headers": {"x-team": "a"}}})
    assert gcs_access(config).headers == {"x-team": "a"}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("regon", "did you mean 'region'?"),
        ("verif", "did you mean 'verify'?"),
        ("xyz", "known are region, verify"),
    ],
)
def test_a_word_that_is_unknown_is_named_with_those_that_are_near(word: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        client_words.check_words({word: 1, "verify": 2}, {"verify", "region"}, "lab")
    assert str(raised.value) == f"setting extra_client_kwargs: 'lab' has no {word!r}; {hint}"
    assert raised.value.setting == "extra_client_kwargs"


def test_words_that_are_known_are_no_error() -> None:
    client_words.check_words({"verify": 2}, {"verify", "region"}, "lab")


def test_what_googles_client_takes_and_downloads_do_not_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="forebay")
    ignored = ["client_info", "use_auth_w_custom_endpoint"]
    words = {
        "anonymous": True,
        "project": "p",
        "user_project": "p",
        "client_options": {},
        "extra_headers": {},
    }
    for _ in range(2):
        gcs_access(MediaCacheConfig(extra_client_kwargs={"gcs": {**words, **{word: {} for word in ignored}}}))
    assert [record.getMessage() for record in caplog.records] == [
        f"{word!r} in extra_client_kwargs for 'gs' means nothing to downloads" for word in ignored
    ]


def test_what_googles_client_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="'gs' has no 'client_inf'; did you mean 'client_info'"):
        gcs_access(MediaCacheConfig(extra_client_kwargs={"gcs": {"client_inf": 1}}))
