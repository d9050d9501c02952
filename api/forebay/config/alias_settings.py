"""The aliases that the settings of servers declare, known to every parser of URIs before the first URI."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

from forebay.errors import ConfigError
from forebay.uri import REMOTE_SCHEMES, STORES, shown
from forebay.uri.aliases import AliasError, canonical, register
from forebay.uri.prefix_rules import split

# The scheme of each kind of server that may have an alias, and the settings that name its file and section.
_SERVERS = (
    ("minio", "minio_config_file", "minio_profile", "MINIO"),
    ("az", "azure_credentials_file", "azure_profile", "AZURE"),
)
# What means something else to FiftyOne, to other libraries, or in one of our settings.
_TAKEN = frozenset(
    {*REMOTE_SCHEMES, "file", "gcs", "s3a", "s3n", "az", "abfs", "abfss", "redis", "rediss", "unix", "data"}
)


def register_aliases(settings: Any) -> None:
    """Makes the aliases known that settings, or the environment, declare.

    Raises:
        ConfigError: an alias cannot be one; the text names where it was set.
    """
    # One by one, as what is registered is known to those that follow.
    for scheme, alias, origin, name in chain(_declared(settings), _of_rules(settings)):
        where = f"{origin}={shown(alias)}"
        if alias in _TAKEN:
            raise ConfigError(
                f"{where} is the name of another kind of URI, {alias}://; choose another one", setting=name
            )
        try:
            register(alias, scheme, origin)
        except AliasError as error:
            raise ConfigError(f"{where} {error}", setting=name) from None


def _declared(settings: Any) -> Iterator[tuple[str, str, str, str]]:
    """Scheme, alias, where it was set, and the name of the setting or variable."""
    for scheme, file_setting, profile_setting, prefix in _SERVERS:
        file, profile = getattr(settings, file_setting), getattr(settings, profile_setting)
        named_file = file or os.environ.get(file_setting.upper())
        variable = f"{prefix}_ALIAS"
        # As for all that these files say: the setting goes before the variables, and they before the variable
        # that names a file.
        alias = "" if file else os.environ.get(variable, "").strip()
        origin, name = f"environment variable {variable}", variable
        if not alias and named_file:
            alias = _in_file(file_setting, file, profile)
            origin, name = f"alias in {named_file}", file_setting
        if alias and scheme in STORES:
            yield scheme, alias.lower(), origin, name


def _of_rules(settings: Any) -> Iterator[tuple[str, str, str, str]]:
    """The same of the sections that the setting ``credentials`` names. Its prefixes may begin with an alias
    of another one, so those that need none come first."""
    rules = sorted(settings.credentials.items(), key=lambda rule: split(rule[0])[0] not in STORES)
    for prefix, rule in rules:
        for scheme, file_setting, _, _ in _SERVERS:
            if canonical(split(prefix)[0]) != scheme or not (rule.keys() & {"profile", "credentials_file"}):
                continue
            file = rule.get("credentials_file") or getattr(settings, file_setting)
            alias = _in_file(file_setting, file, rule.get("profile") or "default")
            if alias:
                path = file or os.environ.get(file_setting.upper())
                yield scheme, alias.lower(), f"alias in {path}", "credentials"


def _in_file(name: str, file: str | None, profile: str | None) -> str:
    # Imported here, as a hit needs nothing of it.
    from forebay.config.ini_file import read_profile

    try:
        return read_profile(name, file, profile, os.environ).get("alias", "").strip()
    except ConfigError:
        # Whatever asks that server says so, and others need not know.
        return ""
