"""A login of Azure without a server: numbered tokens, and a source that has nothing else."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from azure.core.credentials import AccessToken

from forebay.config import MediaCacheConfig
from forebay.sources.azure import AzureSource
from forebay.sources.azure_access import azure_access
from forebay.sources.azure_tokens import AzureTokens
from forebay.sources.routes import transport_of

HOST = "https://photos.blob.core.windows.net"


class Credential:
    """Gives numbered tokens, or raises `error`.

    Attributes:
        lasts: the seconds that a token is valid.
        asked: the scopes that it was asked for.
    """

    def __init__(self, lasts: float = 3600, error: Exception | None = None) -> None:
        self.lasts = lasts
        self.error = error
        self.asked: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        self.asked += scopes
        if self.error is not None:
            raise self.error
        return AccessToken(f"t{len(self.asked)}", int(time.time() + self.lasts))


def source_with(tokens: AzureTokens, monkeypatch: pytest.MonkeyPatch) -> AzureSource:
    """A source of the account ``photos`` that has nothing but these tokens."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
    config = MediaCacheConfig(extra_client_kwargs={"azure": {"anonymous": True}})
    access = azure_access(config)
    account = replace(access.account, anonymous=False)
    return AzureSource(replace(access, account=account, tokens=tokens), transport_of(config))
