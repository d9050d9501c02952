"""SAS tokens of containers, keys that Azure lends, and signed URLs."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import UserDelegationKey

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, SourceError
from forebay.sources import azure_sas
from forebay.sources.azure import AzureSource, azure_source
from forebay.sources.azure_sas import ContainerTokens, DelegationKeys, blob_token
from forebay.sources.azure_tokens import AzureTokens
from forebay.uri import parse
from tests.unit.azure_login import HOST, Credential, source_with

URI = parse("az://day/a.jpg")
KEY = "c2VjcmV0LWtleQ=="
WHEN = "%Y-%m-%dT%H:%M:%SZ"


def moment(query: dict[str, list[str]], name: str) -> datetime:
    return datetime.strptime(query[name][0], WHEN).replace(tzinfo=timezone.utc)


class TestContainerTokens:
    def test_read_and_list_for_half_a_day_from_some_minutes_ago(self) -> None:
        query = parse_qs(ContainerTokens("photos", KEY).current("day"))
        assert (query["sp"], query["sr"]) == (["rl"], ["c"])
        now = datetime.now(timezone.utc)
        assert timedelta(hours=11) < moment(query, "se") - now < timedelta(hours=13)
        assert moment(query, "st") < now - timedelta(minutes=10), "clocks differ"

    def test_the_one_for_all_containers_lists_them_and_no_more(self) -> None:
        query = parse_qs(ContainerTokens("photos", KEY).current(""))
        assert (query["sp"], query["srt"], query["ss"]) == (["l"], ["s"], ["b"])

    def test_are_renewed_long_before_they_expire(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given tokens, and how often they were signed
        tokens, made = ContainerTokens("photos", KEY), []
        monkeypatch.setattr(tokens, "_sign", lambda container: made.append(container) or str(len(made)))
        now = time.monotonic()
        for hours, expected in ((0, "1"), (5, "1"), (7, "2"), (8, "2")):
            monkeypatch.setattr(azure_sas.time, "monotonic", lambda hours=hours: now + hours * 3600)
            assert tokens.current("day") == expected


def delegated(start: datetime, end: datetime) -> UserDelegationKey:
    """A key as Azure lends it."""
    key = UserDelegationKey()
    key.signed_oid = key.signed_tid = "1"
    key.signed_start, key.signed_expiry = start.strftime(WHEN), end.strftime(WHEN)
    key.signed_service, key.signed_version, key.value = "b", "2021-12-02", KEY
    return key


class TestDelegationKeys:
    @pytest.fixture
    def asked(self) -> list[tuple[datetime, datetime]]:
        return []

    @pytest.fixture
    def keys(self, asked: list[tuple[datetime, datetime]]) -> DelegationKeys:
        def ask(start: datetime, end: datetime) -> UserDelegationKey:
            asked.append((start, end))
            return delegated(start, end)

        return DelegationKeys(ask)

    def test_one_serves_a_day(self, keys: DelegationKeys, asked: list[tuple[datetime, datetime]]) -> None:
        hour = datetime.now(timezone.utc) + timedelta(hours=1)
        assert keys.until(hour) is keys.until(hour + timedelta(hours=22))
        ((start, end),) = asked
        assert start < datetime.now(timezone.utc) - timedelta(minutes=10)
        assert timedelta(hours=23) < end - datetime.now(timezone.utc) < timedelta(hours=25)

    def test_another_is_asked_for_where_it_would_not_last(
        self, keys: DelegationKeys, asked: list[tuple[datetime, datetime]]
    ) -> None:
        now = datetime.now(timezone.utc)
        first = keys.until(now + timedelta(hours=1))
        second = keys.until(now + timedelta(days=3))
        assert first is not second
        assert asked[1][1] >= now + timedelta(days=3)
        assert keys.until(now + timedelta(days=2)) is second

    def test_none_is_asked_for_longer_than_azure_lends(
        self, keys: DelegationKeys, asked: list[tuple[datetime, datetime]]
    ) -> None:
        keys.until(datetime.now(timezone.utc) + timedelta(days=7, seconds=30))
        assert asked[0][1] <= datetime.now(timezone.utc) + timedelta(days=7)


class TestSignedUrls:
    @pytest.fixture
    def source(self, monkeypatch: pytest.MonkeyPatch) -> AzureSource:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        return azure_source(MediaCacheConfig())

    @pytest.mark.parametrize(
        ("method", "permission"), [("GET", "r"), ("HEAD", "r"), ("PUT", "cw"), ("DELETE", "d")]
    )
    def test_permit_one_method_on_one_blob_for_as_long_as_asked(
        self, source: AzureSource, method: str, permission: str
    ) -> None:
        parts = urlsplit(source.sign(URI, expires_seconds=600, method=method))
        query = parse_qs(parts.query)
        assert parts.path == "/day/a.jpg"
        assert (query["sp"], query["sr"]) == ([permission], ["b"])
        left = moment(query, "se") - datetime.now(timezone.utc)
        assert timedelta(minutes=8) < left <= timedelta(minutes=10)
        assert moment(query, "st") < datetime.now(timezone.utc) - timedelta(minutes=10)

    @pytest.mark.parametrize("seconds", [0, -1, 7 * 24 * 3600 + 1])
    def test_for_no_time_or_too_long_are_refused(self, source: AzureSource, seconds: int) -> None:
        with pytest.raises(SourceError, match="can last from 1 s to 7 days"):
            source.sign(URI, expires_seconds=seconds)
        assert source.sign(URI, expires_seconds=min(max(seconds, 1), 7 * 24 * 3600))

    def test_for_other_methods_are_refused(self, source: AzureSource) -> None:
        with pytest.raises(SourceError, match="PATCH"):
            source.sign(URI, method="PATCH")

    @pytest.mark.parametrize(
        ("extra", "query"),
        [({"sas_token": "?sv=1&sig=x"}, "sv=1&sig=x"), ({"anonymous": True}, "")],
        ids=["by a SAS", "public"],
    )
    def test_by_what_needs_no_signing(
        self, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], query: str
    ) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        source = azure_source(MediaCacheConfig(extra_client_kwargs={"azure": extra}))
        assert source.sign(URI).partition("?")[::2] == (
            f"{HOST}/day/a.jpg",
            query,
        )
        assert source.request(URI).url.partition("?")[2] == query

    def test_of_a_key_that_is_there_although_none_shall_be_sent(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        source = azure_source(MediaCacheConfig(extra_client_kwargs={"azure": {"anonymous": True}}))
        for url in (source.sign(URI), source.request(URI).url):
            assert url == f"{HOST}/day/a.jpg"

    def test_by_a_login_that_may_not_sign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise ClientAuthenticationError("s3cr3t")

        monkeypatch.setattr("azure.storage.blob.BlobServiceClient.get_user_delegation_key", refuse)
        source = source_with(AzureTokens(Credential(), "a login"), monkeypatch)
        with pytest.raises(AccessDeniedError) as raised:
            source.sign(URI)
        assert "a login cannot sign URLs (ClientAuthenticationError); that needs an account key, or a" in str(
            raised.value
        )
        assert "s3cr3t" not in str(raised.value)

    def test_by_a_login_take_one_key_for_an_account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def lend(client: Any, start: datetime, end: datetime) -> UserDelegationKey:
            asked.append(client.url)
            return delegated(start, end)

        monkeypatch.setattr("azure.storage.blob.BlobServiceClient.get_user_delegation_key", lend)
        source = source_with(AzureTokens(Credential(), "a login"), monkeypatch)
        other = parse("abfss://day@other.dfs.core.windows.net/a.jpg")
        for uri in (URI, other, URI, other):
            assert "skoid=" in source.sign(uri)
        assert asked == [f"https://{name}.blob.core.windows.net/" for name in ("photos", "other")]

    def test_by_a_key_where_there_is_a_sas_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        words = {"account": "photos", "account_key": KEY, "sas_token": "sv=1&sig=x"}
        source = azure_source(MediaCacheConfig(extra_client_kwargs={"azure": words}))
        assert "sp=r&" in source.sign(URI)
        assert "sp=rl&" in source.request(URI).url

    def test_by_a_login_are_signed_with_a_key_that_lasts(self) -> None:
        ends: list[datetime] = []

        def lend(end: datetime) -> UserDelegationKey:
            ends.append(end)
            return delegated(end, end)

        assert "skoid=1" in blob_token("photos", "day", "a", "GET", 3600, delegated=lend)
        assert timedelta(minutes=59) < ends[0] - datetime.now(timezone.utc) <= timedelta(hours=1)
