"""Explains settings to people: why a value is refused, where it came from, and with secrets masked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from forebay.config.reading import env_name, unknown_setting
from forebay.errors import ConfigError

if TYPE_CHECKING:  # pydantic takes 0.15 s to import: see `forebay.config`
    from pydantic import ValidationError

_SECRET = re.compile(r"secret|passw|token|key|auth|cookie|credential|signature", re.I)


def explain(
    error: ValidationError, origins: dict[str, str], given: dict[str, Any], known: Iterable[str]
) -> ConfigError:
    """The error for the first problem of settings: the origin of the value, the value, and what is allowed.

    Args:
        origins: a variable, a file or ``argument``, by the name of the setting.
        given: the values as they were given, by the name of the setting.
        known: the names of all settings.
    """
    problems = error.errors()
    if not problems[0]["loc"]:  # two settings that do not go together
        return ConfigError(re.sub(r"^Value error, ", "", problems[0]["msg"]))
    name = str(problems[0]["loc"][0])
    if problems[0]["type"] == "extra_forbidden":
        return ConfigError(unknown_setting(repr(name), known), setting=name)
    # A value that fits none of several types has a problem with each.
    texts = [re.sub(r"^Value error, ", "", p["msg"]) for p in problems if p["loc"][0] == name]
    value = given[name]
    allowed = ", or ".join(text[0].lower() + text[1:] for text in texts)
    if problems[0]["type"].endswith("_parsing"):
        allowed += _unit_hint(name)
    origin = origins[name]
    if origin == "argument":
        where = f"setting {name}"
    elif origin == env_name(name):
        where = f"environment variable {origin}"
    else:
        where = f"{origin}: {name}"
    return ConfigError(f"{where}={mask(name, value)!r} is not allowed: {allowed}", setting=name)


def mask(name: str, value: Any) -> Any:
    """The value of a setting with its secrets replaced by ``***``."""
    if name == "flower_basic_auth":
        return None if value is None else "***"
    if name == "extra_client_kwargs":
        # A value of the wrong type may be a secret in the wrong place.
        if not isinstance(value, dict):
            return "***"
        return {
            client: _mask_deep(arguments) if isinstance(arguments, dict) else "***"
            for client, arguments in value.items()
        }
    return mask_url(value) if isinstance(value, str) else value


def mask_url(url: str) -> str:
    """``url`` without its password, however broken it may be."""
    url = re.sub(r"(^|//)([^:/@]*):(?!//).*@", r"\1\2:***@", url, flags=re.DOTALL)
    return re.sub(r"([?&]\w*password=)[^&#]*", r"\1***", url)


def _mask_deep(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: "***" if _SECRET.search(str(k)) else _mask_deep(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_mask_deep(item) for item in value]
    return mask_url(value) if isinstance(value, str) else value


def _unit_hint(name: str) -> str:
    """The form that text may have where a setting is a size or a duration; empty for other settings."""
    if name.endswith("_bytes"):
        return ", or a size such as 50GB"
    if name.endswith("_seconds"):
        return ", or a duration such as 30m"
    return ""
