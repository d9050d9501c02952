"""Values of two accounts, in the environment and elsewhere, do not mix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forebay.config import MediaCacheConfig
from forebay.errors import SourceError
from forebay.sources.azure import azure_source
from forebay.sources.azure_account import AzureAccount, azure_account
from forebay.sources.credential_rules import settings_for
from forebay.uri import parse

KEY = "c2VjcmV0LWtleQ=="
OTHER = "b3RoZXIta2V5LQ=="
HOST = "https://photos.blob.core.windows.net"


@pytest.fixture(autouse=True)
def photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has the account ``photos``, with its URL and its key."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_URL", HOST)
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    monkeypatch.setenv("HOSPITAL_KEY", OTHER)


def account_of(words: dict[str, Any]) -> AzureAccount:
    """The account of a prefix with these words."""
    return azure_account(
        settings_for(MediaCacheConfig(credentials={"az://scans/": words}), parse("az://scans/a"))
    )


@pytest.mark.parametrize(
    "words",
    [
        {"account": "hospital", "account_key_variable": "HOSPITAL_KEY"},
        {"account": "hospital", "anonymous": True},
        {"profile": "hospital"},
    ],
    ids=", ".join,
)
def test_another_account_of_a_prefix_has_its_own_url(words: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "azure.ini"
    file.write_text(f"[hospital]\naccount_name = hospital\naccount_key = {OTHER}\n")
    if "profile" in words:
        words = {**words, "credentials_file": str(file)}
    found = account_of(words)
    assert (found.name, found.url) == ("hospital", "https://hospital.blob.core.windows.net")


def test_another_account_of_a_prefix_has_no_key_of_the_first() -> None:
    assert account_of({"account": "hospital"}).key is None


def test_a_connection_string_goes_before_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AZURE_STORAGE_CONNECTION_STRING",
        "BlobEndpoint=https://scans.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=x",
    )
    found = azure_account(MediaCacheConfig())
    assert (found.name, found.key, found.sas) == ("scans", None, "sv=1&sig=x")


def test_an_account_of_that_name_in_another_cloud_is_another_one() -> None:
    source = azure_source(MediaCacheConfig())
    with pytest.raises(SourceError, match=r"is for the storage account https:\S+, not for photos\.dfs"):
        source.request(parse("abfss://day@photos.dfs.core.chinacloudapi.cn/a.jpg"))
