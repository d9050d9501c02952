"""The account and credentials for Azure Blob Storage, from the settings, the INI file and the environment.

The names are FiftyOne's. An INI file has a section for each account::

    [default]
    account_name = ...
    account_key = ...
    # or conn_str, or sas_token, or client_id, client_secret and tenant
    account_url = https://account.blob.core.windows.net
    alias = ...

The settings ``azure_credentials_file`` and ``azure_profile`` name the file and the section; without them
``AZURE_CREDENTIALS_FILE`` and ``AZURE_PROFILE`` do, and the variables in `VARIABLES` stand in for, or take
precedence over, single values of the file. ``extra_client_kwargs["azure"]`` may have the same names, and goes
before both. A connection string goes before whatever else is said at its place and beneath it; and where a
place names another account than the one beneath it, that one's URL, key and SAS are not used. Of several
credentials the first of these is used: an account key, a SAS, a client secret; without any of them,
`DefaultAzureCredential` looks for a login.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from urllib.parse import urlsplit

from forebay.config import MediaCacheConfig
from forebay.config.ini_file import read_profile
from forebay.errors import ConfigError
from forebay.sources.client_words import arguments_of, text
from forebay.sources.routes import checked_endpoint, one_line
from forebay.transport.guard import literal_address
from forebay.uri import AZURE_CLOUDS, shown

VARIABLES = {
    "conn_str": "AZURE_STORAGE_CONNECTION_STRING",
    "account_name": "AZURE_STORAGE_ACCOUNT",
    "account_key": "AZURE_STORAGE_KEY",
    "sas_token": "AZURE_STORAGE_SAS_TOKEN",
    "account_url": "AZURE_STORAGE_ACCOUNT_URL",
    "client_id": "AZURE_CLIENT_ID",
    "client_secret": "AZURE_CLIENT_SECRET",
    "tenant": "AZURE_TENANT_ID",
}
"""The environment variable for each value of the file."""

# What says who asks, rather than whom.
_SECRETS = ("account_key", "sas_token", "client_secret")
_WHO = frozenset((*_SECRETS, "client_id", "tenant"))
# What is of use for one account only; a login may be let into several.
_OF_AN_ACCOUNT = frozenset({"account_name", "account_url", "account_key", "sas_token"})
_CLOUD = re.compile(rf"\.(?:blob|dfs)\.({AZURE_CLOUDS})\Z")
_NAME = re.compile(r"[a-z0-9]{3,24}")
_KEY = re.compile(r"[A-Za-z0-9+/]+={0,2}")
WORDS = frozenset((*VARIABLES, "anonymous", "account", "endpoint_url", "connection_string", "alias"))
"""What ``extra_client_kwargs["azure"]`` may say of the account."""

_MEANT = {"account": "account_name", "endpoint_url": "account_url", "connection_string": "conn_str"}


@dataclass(frozen=True)
class AzureAccount:
    """An account, and what is known to authorize requests to it.

    Attributes:
        name: the account's; ``None`` where none is configured, so that URIs have to name theirs.
        url: below which its containers are.
        key: the account key, in base64.
        sas: a SAS token, without ``?``.
        client: id and secret of an application, and its tenant.
        anonymous: whether to send nothing although there is something.
        origin: where the credentials come from, in words.
    """

    name: str | None = None
    url: str | None = None
    key: str | None = field(default=None, repr=False)
    sas: str | None = field(default=None, repr=False)
    client: tuple[str, str, str] | None = field(default=None, repr=False)
    anonymous: bool = False
    origin: str = ""

    @property
    def description(self) -> str:
        """The credentials in words, without secrets."""
        if self.anonymous:
            return f"no credentials ({self.origin} asks for none)"
        kind = "account key" if self.key else "SAS token" if self.sas else "client secret"
        return f"the Azure {kind} {self.origin}"


def azure_account(config: MediaCacheConfig) -> AzureAccount:
    """The account for ``az://`` URIs.

    Raises:
        ConfigError: a file or its section does not exist, or a value cannot be used; none is repeated.
    """
    extra = {_MEANT.get(name, name): value for name, value in arguments_of(config, "az").items()}
    given = {name: value for name in VARIABLES if (value := text(extra, name, "az"))}
    setting = _Level(given, _variable_of_rule(config) or "in extra_client_kwargs")
    found = reduce(_over, (_checked(one) for one in (*_below(config, os.environ), setting)))
    values = found.values
    url, key = values.get("account_url"), values.get("account_key")
    name = values.get("account_name") or _name_in(url)
    if key is not None and name is None:
        raise ConfigError(
            f"Azure's account_key {found.origin} needs account_name, too (AZURE_STORAGE_ACCOUNT)"
        )
    client = tuple(values.get(one, "") for one in ("client_id", "client_secret", "tenant"))
    anonymous = extra.get("anonymous") is True
    return AzureAccount(
        name=name,
        url=url or (f"https://{name}.blob.core.windows.net" if name else None),
        key=key,
        sas=values.get("sas_token"),
        client=client if len(client) == 3 and all(client) else None,
        anonymous=anonymous,
        origin="the setting" if anonymous else found.origin,
    )


def azure_account_url(config: MediaCacheConfig) -> str | None:
    """The URL below which the account has its containers; ``None`` where no account is configured.

    Raises:
        ConfigError: as `azure_account`.
    """
    return azure_account(config).url


def cloud_of(url: str) -> str | None:
    """What the host in a URL, or a bare host, ends in, which names one of Azure's clouds; else ``None``."""
    found = _CLOUD.search(urlsplit(url).hostname or url)
    return found[1] if found else None


@dataclass(frozen=True)
class _Level:
    """What one place says of the account: a file, the environment, or a setting.

    Attributes:
        values: by the names of the file.
        origin: the place, in words.
        whole: whether a connection string said them, which needs nothing from elsewhere.
    """

    values: Mapping[str, str]
    origin: str
    whole: bool = False

    @property
    def account(self) -> str | None:
        """The account that this is certainly about; an address of one's own may be any account's."""
        url = self.values.get("account_url")
        return self.values.get("account_name") or (_name_in(url) if url and cloud_of(url) else None)

    @property
    def has_secret(self) -> bool:
        return not self.values.keys().isdisjoint(_SECRETS)


def _below(config: MediaCacheConfig, environment: Mapping[str, str]) -> list[_Level]:
    """The levels beneath the setting ``extra_client_kwargs``, the lowest first."""
    file = config.azure_credentials_file
    section = config.azure_profile or environment.get("AZURE_PROFILE") or "default"
    path = file or environment.get("AZURE_CREDENTIALS_FILE", "")
    in_file = _Level(
        read_profile("azure_credentials_file", file, config.azure_profile, environment),
        f"in section [{section}] of {os.path.basename(path)}",
    )
    found = {name: environment[variable] for name, variable in VARIABLES.items() if environment.get(variable)}
    if config.rule_words & {"profile", "credentials_file"}:
        # The account may be that of the environment; the credentials are those of the profile alone.
        found = {name: found[name] for name in ("account_name", "account_url") if name in found}
        return [_Level(found, "in the environment"), in_file]
    if file is not None:
        return [in_file]
    return [in_file, _Level(found, "in the environment")]


def _checked(level: _Level) -> _Level:
    """A level with values that can be used, and those of a connection string instead of it."""
    where = f"Azure's {{}} {level.origin}"
    values = {
        name: line for name, value in level.values.items() if (line := one_line(value, where.format(name)))
    }
    whole = "conn_str" in values
    if whole:
        values = _of_connection_string(values["conn_str"], where.format("conn_str"))
    url, _, sas = values.pop("account_url", "").partition("?")
    sas = values.pop("sas_token", "").lstrip("?") or sas
    address = checked_endpoint(url, where.format("account_url"))
    values |= ({"account_url": address} if address else {}) | ({"sas_token": sas} if sas else {})
    name = values.get("account_name") or _name_in(address)
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigError(
            f"{where.format('account_name')}: {shown(name)} is no name of a storage account: "
            "3 to 24 small letters and digits"
        )
    key = values.get("account_key")
    if key is not None and not (_KEY.fullmatch(key) and len(key) % 4 == 0):
        raise ConfigError(f"{where.format('account_key')} is no account key: it is not in base64")
    return _Level(values, level.origin, whole)


def _over(lower: _Level, upper: _Level) -> _Level:
    """Two levels in one: what the upper one says, and of the lower one what is not of another account."""
    kept = dict(lower.values)
    one, other = lower.account, upper.account
    if upper.whole or (one is not None and other is not None and one != other):
        kept = {name: value for name, value in kept.items() if name not in _OF_AN_ACCOUNT}
    if upper.has_secret:
        # One kind of credentials, not two that contradict each other.
        kept = {name: value for name, value in kept.items() if name not in _WHO}
    kept_secret = not kept.keys().isdisjoint(_SECRETS)
    return _Level({**kept, **upper.values}, lower.origin if kept_secret else upper.origin)


def _variable_of_rule(config: MediaCacheConfig) -> str:
    """The environment variable that the setting ``credentials`` names for these, in words; empty for none."""
    rule = config.credentials.get(config.rule, {})
    names = [rule[word] for word in sorted(config.rule_words) if word.endswith("_variable")]
    return f"in the environment variable {names[0]}" if names else ""


def _of_connection_string(text: str, where: str) -> dict[str, str]:
    """The values in a connection string, by the names of the file."""
    if text.strip().lower().startswith("usedevelopmentstorage="):
        raise ConfigError(
            f"{where}: UseDevelopmentStorage is not supported; write the emulator's whole string"
        )
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    parts = {name.strip().lower(): value.strip() for name, equals, value in pairs if equals}
    name = parts.get("accountname", "")
    url = parts.get("blobendpoint", "")
    if not url and name:
        scheme = parts.get("defaultendpointsprotocol", "https")
        url = f"{scheme}://{name}.blob.{parts.get('endpointsuffix', 'core.windows.net')}"
    if not url or not (parts.get("accountkey") or parts.get("sharedaccesssignature")):
        raise ConfigError(
            f"{where} is no connection string: it needs AccountName and AccountKey, or BlobEndpoint and "
            "SharedAccessSignature, with semicolons between them"
        )
    made = {
        "account_name": name,
        "account_url": url,
        "account_key": parts.get("accountkey", ""),
        "sas_token": parts.get("sharedaccesssignature", ""),
    }
    return {word: value for word, value in made.items() if value}


def _name_in(url: str | None) -> str | None:
    """The account that a URL names: in its host, or in its path where that is an address or has no dot."""
    if url is None:
        return None
    parts = urlsplit(url)
    host = parts.hostname or ""
    if "." not in host or literal_address(parts.netloc) is not None:
        return parts.path.strip("/").partition("/")[0] or None
    return host.partition(".")[0]
