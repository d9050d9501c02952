"""``az://container/blob`` and ``abfss://container@account.dfs.core.windows.net/blob``: Azure Blob Storage.

With an account key, a SAS token is signed for each container and renewed, so that a GET costs no signature.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, SourceError
from forebay.sources import answers, failures
from forebay.sources.asking import conditions
from forebay.sources.azure_access import AzureAccess, azure_access
from forebay.sources.azure_sas import LONGEST_SECONDS, METHODS, ContainerTokens, DelegationKeys, blob_token
from forebay.sources.base import ObjectInfo, Page, PageQuery
from forebay.sources.bearer_reader import BearerReader
from forebay.sources.listings.azure_pages import containers_of, parse_page, query_string
from forebay.sources.listings.pages import PageError
from forebay.sources.reader import WHOLE, WHOLE_OR_PART
from forebay.sources.routes import Routes, transport_of
from forebay.transport import Head, Request, Transport
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey

# Azure's rule for names of containers, and the three that it has itself.
_CONTAINER = re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]|\$(?:root|web|logs)")
# The newest that all of its servers and emulators know; tokens need one of 2017 or later.
_VERSION = ("x-ms-version", "2021-12-02")


def azure_source(config: MediaCacheConfig, transport: Transport | None = None) -> AzureSource:
    """The source of ``az://`` URIs; configured as `forebay.sources.azure_account` describes.

    Args:
        transport: moves the bytes; by default one of its own.

    Raises:
        ConfigError: the credentials cannot be used.
        SourceError: Azure's packages are not installed.
    """
    return AzureSource(azure_access(config), transport or transport_of(config))


class AzureSource(BearerReader):
    """Reads the containers that one set of Azure credentials reaches."""

    def __init__(self, access: AzureAccess, transport: Transport) -> None:
        routes = Routes(access.tls, access.proxies)
        super().__init__(transport, access.tokens, routes, access.limits, (_VERSION,))
        self.access = access
        account = access.account
        self._signed = (
            ContainerTokens(account.name, account.key)
            if account.name and account.key and not account.anonymous
            else None
        )
        # By the URL of an account.
        self._delegated: dict[str, DelegationKeys] = {}

    @property
    def description(self) -> str:
        return self.access.description

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        url = self.url(uri)
        return Request(
            self._with_sas(url, uri),
            headers=[
                *self._headers,
                *self._authorization(uri),
                *conditions(span, etag, if_none_match, if_modified_since),
            ],
            route=self._routes.to(url, decode=not answers.keeps_encoding(uri)),
            limits=self.access.limits,
            accept=WHOLE if span is None else WHOLE_OR_PART,
        )

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return answers.describe(uri, head, md5=answers.md5_of(head))

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        _, account, container = self._place(prefix)
        url = f"{account}/{container}?{query_string(query)}"
        return parse_page(self.get(prefix, self._with_sas(url, prefix)), query)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        if not 1 <= expires_seconds <= LONGEST_SECONDS:
            raise SourceError(
                uri.redacted, f"a signed URL can last from 1 s to 7 days, not {expires_seconds:,} s"
            )
        if method not in METHODS:
            raise failures.unsignable(uri, method)
        name, account_url, container = self._place(uri)
        account, url = self.access.account, self.url(uri)
        if account.anonymous:
            return url
        if account.key is None and account.sas is not None:
            # It is good for as long as it is.
            return f"{url}?{account.sas}"
        if account.key is None and not self.access.tokens.current(uri):
            # Without credentials only public blobs can be read, for which no signature is needed.
            return url
        keys = self._delegated.setdefault(
            account_url, DelegationKeys(lambda *span: self._lent(account_url, *span))
        )
        try:
            token = blob_token(
                name,
                container,
                uri.key,
                method,
                expires_seconds,
                key=account.key,
                delegated=None if account.key else keys.until,
            )
        except Exception as error:
            raise AccessDeniedError(
                uri.redacted,
                f"{self.access.description} cannot sign URLs ({type(error).__name__}); that needs an account "
                "key, or a role such as Storage Blob Delegator",
            ) from None
        return f"{url}?{token}"

    def explain(self, uri: MediaURI) -> str:
        name, account, _ = self._place(uri)
        return f"{self.access.description}; the storage account {name} at {account}"

    def containers(self) -> Sequence[str]:
        everything = MediaURI("az://", "az", "", "")
        _, account, _ = self.access.place(everything)
        names: list[str] = []
        marker = ""
        while True:
            url = f"{account}/?comp=list" + (f"&marker={quote(marker, safe='')}" if marker else "")
            try:
                found, marker = containers_of(self.get(everything, self._with_sas(url, everything)))
            except PageError as error:
                raise SourceError("az://", str(error)) from None
            names += found
            if not marker:
                return names

    def url(self, uri: MediaURI) -> str:
        """The URL of a blob, without a SAS.

        Raises:
            SourceError: no account is configured, or the container's name is none.
        """
        _, account, container = self._place(uri)
        return f"{account}/{container}/{quote(uri.key, safe='/~', errors='surrogateescape')}"

    def _place(self, uri: MediaURI) -> tuple[str, str, str]:
        name, account, container = self.access.place(uri)
        if not _CONTAINER.fullmatch(container):
            raise SourceError(
                uri.redacted,
                f"{container!r} is no name of a container: 3 to 63 small letters, digits and single hyphens",
            )
        return name, account, container

    def _with_sas(self, url: str, uri: MediaURI) -> str:
        sas = self.access.account.sas
        if self.access.account.anonymous:
            return url
        if self._signed is not None:
            sas = self._signed.current(uri.bucket.partition("@")[0])
        return f"{url}{'&' if '?' in url else '?'}{sas}" if sas else url

    def _lent(self, account_url: str, start: datetime, end: datetime) -> UserDelegationKey:
        client: Any = self.access.client(account_url)
        lent: UserDelegationKey = client.get_user_delegation_key(start, end)
        return lent
