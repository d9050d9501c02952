"""Which credentials are for a URI: the rules of the setting ``credentials``, the most specific one first.

A rule becomes a configuration of its own, from which the ordinary source of the scheme is made. What the
rule does not say comes from the settings of the scheme, then from the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.sources.client_words import mapping
from forebay.uri import MediaURI, shown
from forebay.uri.prefix_rules import PrefixRule, ranked, rule_parts

T = TypeVar("T")

# What a rule with credentials of its own does not take from the settings of the scheme.
_KEYS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "account_key",
    "sas_token",
    "conn_str",
    "anonymous",
)
_VARIABLES = {
    "access_key_variable": "aws_access_key_id",
    "secret_key_variable": "aws_secret_access_key",
    "session_token_variable": "aws_session_token",
    "account_key_variable": "account_key",
    "sas_token_variable": "sas_token",
    "connection_string_variable": "conn_str",
}
_NAMES = {"region": "region_name", "account": "account_name"}
_OWN = frozenset(("profile", "credentials_file", "anonymous", *_VARIABLES))
_PROFILES = {
    "s3": ("aws_profile", "aws_config_file"),
    "minio": ("minio_profile", "minio_config_file"),
    "gs": ("", "google_application_credentials"),
    "az": ("azure_profile", "azure_credentials_file"),
}


@dataclass(frozen=True, eq=False)
class CredentialRule(PrefixRule):
    """One prefix of the setting, and what it says.

    Attributes:
        words: what the rule says; see `forebay.config.credential_table`.
    """

    words: Mapping[str, Any]


class CredentialRules:
    """The setting ``credentials``; of the rules that hold a URI, the most specific one applies."""

    def __init__(self, config: MediaCacheConfig) -> None:
        self._config = config
        rules = [_rule(prefix, words) for prefix, words in config.credentials.items()]
        self.all = ranked(rules)
        self._schemes = {rule.scheme for rule in rules}

    def of(self, uri: MediaURI) -> CredentialRule | None:
        """The rule for a URI; ``None`` where the settings of the scheme are for it."""
        if uri.scheme not in self._schemes:
            return None
        return next((rule for rule in self.all if rule.holds(uri)), None)

    def settings(self, rule: CredentialRule | None) -> MediaCacheConfig:
        """The settings that make the source of a rule.

        Raises:
            ConfigError: an environment variable that the rule names is not set.
        """
        return self._config if rule is None else derived(self._config, rule)

    def make(self, rule: CredentialRule | None, make: Callable[[MediaCacheConfig], T]) -> T:
        """What the settings of a rule make.

        Raises:
            ConfigError: as `settings`; or what ``make`` raised, with the rule named.
        """
        settings = self.settings(rule)
        try:
            return make(settings)
        except ConfigError as error:
            if rule is None or "credentials, " in str(error):
                raise
            raise ConfigError(
                f"setting credentials, {shown(rule.prefix)}: {_in_words_of(rule, str(error))}",
                setting="credentials",
            ) from None


def settings_for(config: MediaCacheConfig, uri: MediaURI) -> MediaCacheConfig:
    """The settings that are for one URI: those of its rule, or ``config`` itself.

    Raises:
        ConfigError: an environment variable that its rule names is not set.
    """
    rules = CredentialRules(config)
    return rules.settings(rules.of(uri))


def derived(config: MediaCacheConfig, rule: CredentialRule) -> MediaCacheConfig:
    """A copy of the settings in which those of a rule stand."""
    words, scheme = rule.words, rule.scheme
    # What the setting says goes before the environment, which the source asks by these.
    update: dict[str, Any] = {
        "_rule": rule.prefix,
        "_rule_words": frozenset(word for word in words if words[word]),
    }
    arguments = dict(config.extra_client_kwargs.get(scheme, {}))
    if any(words.get(word) for word in _OWN):
        arguments = {name: value for name, value in arguments.items() if name not in _KEYS}
    profile, file = _PROFILES.get(scheme, ("", ""))
    if words.get("profile") or words.get("credentials_file"):
        # The section of that name is the one of a file that is named alone, whatever the scheme's is.
        if profile:
            update[profile] = words.get("profile") or "default"
        if words.get("credentials_file"):
            update[file] = words["credentials_file"]
    arguments |= {argument: variable(rule, word) for word, argument in _VARIABLES.items() if word in words}
    if words.get("anonymous"):
        arguments["anonymous"] = True
    if endpoint := words.get("endpoint_url"):
        arguments |= (
            {"client_options": {**mapping(arguments, "client_options", scheme), "api_endpoint": endpoint}}
            if scheme == "gs"
            else {"endpoint_url": endpoint}
        )
    arguments |= {argument: words[word] for word, argument in _NAMES.items() if words.get(word)}
    pays = words.get("requester_pays")
    if pays is not None:
        update["requester_pays"] = bool(pays)
        if isinstance(pays, str):
            arguments["user_project"] = pays
        elif not pays:
            arguments.pop("user_project", None)
    update["extra_client_kwargs"] = {**config.extra_client_kwargs, scheme: arguments}
    return config.model_copy(update=update)


def by_rule(description: str, rule: str) -> str:
    """Credentials in words, with the prefix in the setting ``credentials`` that they are for, if any."""
    return f"{description}, by the prefix {shown(rule)} of the setting credentials" if rule else description


def variable(rule: CredentialRule, word: str) -> str:
    """The value of the environment variable that a word of a rule names.

    Raises:
        ConfigError: it is not set.
    """
    name = rule.words[word]
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(
            f"setting credentials, {shown(rule.prefix)}: {word} names the environment variable {name}, which "
            "is not set in this process; set it, for the workers too",
            setting="credentials",
        )
    return value


def _in_words_of(rule: CredentialRule, text: str) -> str:
    """An error of a derived setting, by the word of the rule that the setting comes from."""
    names = zip(("profile", "credentials_file"), _PROFILES.get(rule.scheme, ()), strict=False)
    for word, setting in names:
        if setting and word in rule.words:
            text = text.replace(f"setting {setting}", word)
    return text


def _rule(prefix: str, words: Mapping[str, Any]) -> CredentialRule:
    return CredentialRule(*rule_parts(prefix), words)
