"""What settings must not say together."""

from __future__ import annotations

from typing import Protocol

from forebay.config import rules
from forebay.config.redis_address import kind_of
from forebay.errors import ConfigError
from forebay.uri import shown


class Combined(Protocol):
    """The settings that are compared here."""

    redis_url: str | None
    broker_url: str | None
    group: str | None
    group_tls_cert: str | None
    group_tls_key: str | None
    cache_dir: str
    local_roots: list[str]


def check_combinations(settings: Combined) -> None:
    """Compares settings with each other, after each was found to be right by itself.

    Raises:
        ConfigError: two do not fit together.
    """
    _check_databases(settings)
    _check_group(settings)
    for root in settings.local_roots:
        if f"{settings.cache_dir}/".startswith(root + "/"):
            raise ConfigError(
                f"the cache directory {settings.cache_dir} lies below {shown(root)} of the setting "
                "local_roots: name the directories beside it",
                setting="local_roots",
            )


def _check_databases(settings: Combined) -> None:
    index, queue = settings.redis_url, settings.broker_url
    if index and queue and rules.database(index) == rules.database(queue):
        raise ConfigError(
            "broker_url must differ from redis_url in its database number: the queue and the index share none"
        )


def _check_group(settings: Combined) -> None:
    index, group = settings.redis_url, settings.group
    if group is not None and index is None:
        raise ConfigError(
            f"group={shown(group)} needs redis_url: the volumes of a group find each other in the "
            "Redis that they share; set FIFTYONE_MEDIA_CACHE_REDIS_URL",
            setting="group",
        )
    if group is not None and index is not None and kind_of(index) == "cluster":
        raise ConfigError(
            f"group={shown(group)} needs a Redis that has all its volumes, and a cluster has each "
            "volume on a node of its own: name a plain Redis or Sentinels in redis_url",
            setting="group",
        )
    if settings.group_tls_key is not None and settings.group_tls_cert is None:
        raise ConfigError(
            "group_tls_key is of no use without group_tls_cert: name the certificate, too",
            setting="group_tls_key",
        )
