"""Explains settings to people: why a value is refused, where it came from, and with secrets masked."""

from __future__ import annotations

import re
from typing import Any

from forebay.config.credential_table import masked
from forebay.config.kinds import NotAllowedError, UnreadableError
from forebay.config.reading import env_name
from forebay.config.redis_address import CLUSTER_SCHEMES, SENTINEL_SCHEMES
from forebay.config.sizes import in_seconds
from forebay.errors import ConfigError
from forebay.uri import is_key_itself, plain, shown

_SECRET = re.compile(r"secret|passw|token|key|auth|cookie|credential|signature", re.I)
_SECRET_PARAMETER = re.compile(r"([?&][^=&#]*(?:secret|passw|token|auth|credential|sig)[^=&#]*=)[^&#]*", re.I)
_QUERY = re.compile(r"\?.*", re.DOTALL)
_WELL_FORMED = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]")
_REDIS = ("redis://", "rediss://", "unix://", "redis+socket://", *SENTINEL_SCHEMES, *CLUSTER_SCHEMES)
# Arguments of clients whose texts are shown.
_SHOWN = {
    "accept",
    "accept-language",
    "addressing_style",
    "api_version",
    "endpoint",
    "endpoint_url",
    "host",
    "http",
    "https",
    "mode",
    "project",
    "region",
    "region_name",
    "signature_version",
    "storage_class",
    "user-agent",
    "user_agent",
    "user_project",
    "verify",
}


def refused(name: str, value: Any, origin: str, error: NotAllowedError) -> ConfigError:
    """The error that a setting may not have a value: its origin, the value, and what is allowed.

    Args:
        value: as it was given.
        origin: a variable, a file or ``argument``.
        error: says what is allowed.
    """
    allowed = str(error) + (_unit_hint(name) if isinstance(error, UnreadableError) else "")
    if origin in ("argument", "default"):
        where = f"setting {name}"
    elif origin == env_name(name):
        where = f"environment variable {origin}"
    else:
        where = f"{origin}: {name}"
    return ConfigError(f"{where}={mask(name, value)!r} is not allowed: {allowed}", setting=name)


def mask(name: str, value: Any) -> Any:  # noqa: PLR0911
    """The value of a setting with its secrets replaced by ``***``."""
    if value is None or (isinstance(value, bool | int | float) and name != "flower_basic_auth"):
        return value
    if name == "max_ages" and isinstance(value, dict):
        return {shown(prefix)[1:-1]: _shown_duration(age) for prefix, age in value.items()}
    if name == "extra_client_kwargs" and isinstance(value, dict):
        return {
            client: _mask_deep(arguments, "") if isinstance(arguments, dict) else "***"
            for client, arguments in value.items()
        }
    if name == "allowed_sources" and isinstance(value, list):
        return [plain(item) if isinstance(item, str) else "***" for item in value]
    if name == "credentials":
        return masked(value)
    # A value of the wrong type may be a secret in the wrong place.
    wrong = not isinstance(value, str) or name in ("flower_basic_auth", "extra_client_kwargs")
    if wrong or is_key_itself(value):
        return "***"
    return _masked_text(mask_url(value))


def _shown_duration(value: Any) -> Any:
    return value if value is None or isinstance(in_seconds(value), int | float) else "***"


def _masked_text(text: str) -> str:
    if text.startswith(_REDIS):
        return text
    return _QUERY.sub("?…", text) if _WELL_FORMED.match(text) else plain(text)


def mask_url(url: str) -> str:
    """``url`` without its password, however broken it may be."""
    url = re.sub(r"(^|//)([^:/@]*):(?!//).*@", r"\1\2:***@", url, flags=re.DOTALL)
    return _SECRET_PARAMETER.sub(r"\1***", url)


def _mask_deep(value: Any, name: str) -> Any:
    """Arguments of a client. Texts are shown only of those that are known to be no secrets: a header may have
    any name."""
    if _SECRET.search(name) and name not in _SHOWN:
        return "***"
    if isinstance(value, dict):
        return {key: _mask_deep(item, str(key).lower()) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mask_deep(item, name) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask("", value) if name in _SHOWN else "***"


def _unit_hint(name: str) -> str:
    """The form that text may have where a setting is a size or a duration; empty for other settings."""
    if name.endswith("_bytes"):
        return ", or a size such as 50GB"
    if name.endswith("_seconds") or name == "max_age":
        return ", or a duration such as 30m"
    return ""
