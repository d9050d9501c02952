"""How Azure Blob Storage is reached: the account, what authorizes requests, whom to trust, which proxies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceError
from forebay.sources.azure_account import WORDS, AzureAccount, azure_account, cloud_of
from forebay.sources.azure_tokens import AzureTokens
from forebay.sources.client_words import (
    arguments_of,
    check_kinds,
    check_words,
    mapping,
    say_ignored,
    seconds,
    trust,
)
from forebay.sources.credential_rules import by_rule
from forebay.sources.routes import limits_of
from forebay.transport import Limits
from forebay.transport.proxies import Proxies, proxies_from
from forebay.transport.tls import TLS, tls_from
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

_READ_HERE = frozenset({"verify", "connection_verify", "proxies", "connection_timeout", "read_timeout"})
# What goes to Azure's client as it is: numbers, text, and what is true or false.
_NUMBERS = frozenset(
    {"retry_total", "retry_connect", "retry_read", "retry_status", "max_block_size", "max_single_put_size"}
    | {"min_large_block_upload_threshold", "min_large_chunk_upload_threshold", "max_page_size"}
    | {"max_single_get_size", "max_chunk_get_size", "max_range_size"}
)
_TEXTS = frozenset({"api_version", "secondary_hostname", "audience", "user_agent"})
_SWITCHES = frozenset({"use_byte_buffer", "logging_enable", "logging_body", "retry_to_secondary"})
_OF_THE_CLIENT = _NUMBERS | _TEXTS | _SWITCHES | {"headers"}
# The packages of Azure are imported in the functions that need them, as they come with an extra.


@dataclass(frozen=True)
class AzureAccess:
    """The account, credentials and options with which Azure Blob Storage is reached.

    Attributes:
        tokens: what requests are authorized with where there is neither an account key nor a SAS.
        rule: the prefix in the setting ``credentials`` that this is for, if any.
        arguments: further ones of Azure's client.
    """

    account: AzureAccount
    tokens: AzureTokens
    tls: TLS
    proxies: Proxies
    limits: Limits
    rule: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The credentials in words, without secrets."""
        own = self.account.key or self.account.sas
        return by_rule(self.account.description if own else self.tokens.description, self.rule)

    def place(self, uri: MediaURI) -> tuple[str, str, str]:
        """The account's name, its URL, and the container.

        Raises:
            SourceError: no account is configured, or the URI names one that the credentials are not for.
        """
        container, at, host = uri.bucket.partition("@")
        account = self.account
        if not at:
            if account.url is None:
                raise SourceError(
                    uri.redacted,
                    "no storage account is configured; set AZURE_STORAGE_ACCOUNT, or write "
                    "abfss://container@account.dfs.core.windows.net/blob",
                )
            return account.name or "", account.url, container
        name, _, domain = host.partition(".")
        url = account.url or ""
        # Accounts of two clouds may have one name; a URL of the user's own may lead to either.
        if url and name == account.name and cloud_of(url) in (None, cloud_of(host)):
            return name, url, container
        if account.key or account.sas:
            raise SourceError(
                uri.redacted,
                f"{self.description} is for the storage account {url or account.name}, not "
                f"for {host}; give this one credentials of its own in the setting credentials",
            )
        return name, f"https://{name}.{domain.replace('dfs.', 'blob.', 1)}", container

    def client(self, url: str) -> BlobServiceClient:
        """A client of Azure's package, for what the transport does not do. It makes no second attempt."""
        from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import BlobServiceClient

        account = self.account
        credential: Any = self.tokens.credential
        if account.anonymous:
            credential = None
        elif account.key and account.name:
            credential = AzureNamedKeyCredential(account.name, account.key)
        elif account.sas:
            credential = AzureSasCredential(account.sas)
        proxy = self.proxies.for_url(url)
        tls = self.tls
        return BlobServiceClient(
            url,
            credential=credential,
            **{"retry_total": 0, **self.arguments},
            transport=RequestsTransport(
                connection_timeout=self.limits.connect_seconds,
                read_timeout=self.limits.idle_seconds,
                connection_verify=(tls.bundle or tls.directory or True) if tls.verify else False,
                connection_cert=(tls.certificate, tls.key) if tls.key else tls.certificate,
                # Its own reading of the environment is another one.
                use_env_settings=False,
            ),
            proxies=dict.fromkeys(("http", "https"), proxy.url) if proxy else {},
        )


def azure_access(config: MediaCacheConfig) -> AzureAccess:
    """How ``az://`` URIs are reached; configured as `forebay.sources.azure_account` describes.

    Raises:
        ConfigError: a value cannot be used.
        SourceError: azure-storage-blob or azure-identity is not installed.
    """
    extra = arguments_of(config, "az")
    check_words(extra, WORDS | _READ_HERE | _OF_THE_CLIENT, "az")
    account = azure_account(config)
    try:
        # Imported now, because no fork can happen meanwhile.
        import azure.storage.blob  # noqa: F401

        tokens = _tokens(account)
    except ImportError:
        raise SourceError(
            "az://", "needs azure-storage-blob and azure-identity: pip install 'forebay[azure]'"
        ) from None
    limits = limits_of(config)
    arguments = {name: value for name, value in extra.items() if name in _OF_THE_CLIENT}
    for names, kind in ((_NUMBERS, int), (_TEXTS, str), (_SWITCHES, bool)):
        check_kinds(arguments, sorted(names), kind, "az")
    mapping(arguments, "headers", "az", texts=True)
    say_ignored(arguments, "az")
    where = "setting extra_client_kwargs, 'azure'"
    verify = trust(extra, "connection_verify" if "connection_verify" in extra else "verify", "az")
    proxies = mapping(extra, "proxies", "az", texts=True)
    return AzureAccess(
        account=account,
        tokens=tokens,
        tls=tls_from(os.environ, verify=verify, setting=f"{where}: verify"),
        proxies=proxies_from(os.environ, settings=proxies, setting=f"{where}: proxies"),
        limits=replace(
            limits,
            connect_seconds=seconds(extra, "connection_timeout", limits.connect_seconds, "az"),
            idle_seconds=seconds(extra, "read_timeout", limits.idle_seconds, "az"),
        ),
        rule=config.rule,
        arguments=arguments,
    )


def _tokens(account: AzureAccount) -> AzureTokens:
    if account.anonymous:
        return AzureTokens(None, account.description)
    if account.key or account.sas:
        return AzureTokens(None, "")
    # Imported here, as it takes 200 ms and keys do without it.
    from azure.identity import ClientSecretCredential, DefaultAzureCredential

    try:
        if account.client is not None:
            identity, secret, tenant = account.client
            return AzureTokens(ClientSecretCredential(tenant, identity, secret), account.description)
        return AzureTokens(
            DefaultAzureCredential(), "the login that DefaultAzureCredential finds", optional=True
        )
    except ValueError:  # its text may repeat a value
        raise ConfigError(
            "the Azure credentials cannot be used: check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST"
        ) from None
