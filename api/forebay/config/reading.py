"""Reads settings from the environment and from the JSON file.

The order of precedence is: arguments, the environment, the JSON file, the defaults. A setting ``<name>`` is
the key ``<name>`` in the file and the variable ``FIFTYONE_MEDIA_CACHE_<NAME>`` in the environment, except for
the few whose variable FiftyOne has named. An empty variable counts as not set.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from forebay.config.declaring import Setting
from forebay.config.kinds import Kind
from forebay.errors import ConfigError
from forebay.uri import plain, shown

ENV_PREFIX = "FIFTYONE_MEDIA_CACHE_"
CONFIG_PATH_VARIABLE = ENV_PREFIX + "CONFIG_PATH"
DEFAULT_CONFIG_PATH = "~/.fiftyone/media_cache_config.json"

# Where FiftyOne's name for the variable is not the name of the field.
_ENV_NAMES = {
    "cache_dir": ENV_PREFIX + "DIR",
    "cache_size_bytes": ENV_PREFIX + "SIZE_BYTES",
    "cache_app_images": ENV_PREFIX + "APP_IMAGES",
}


def env_name(field: str) -> str:
    """The environment variable that sets ``field``."""
    return _ENV_NAMES.get(field, ENV_PREFIX + field.upper())


def config_path() -> Path:
    """The JSON file that settings are read from; it need not exist.

    Where this user has no home directory, it begins with ``~``.
    """
    # Not by `Path.expanduser`, which raises where there is no home directory.
    return Path(os.path.expanduser(os.environ.get(CONFIG_PATH_VARIABLE) or DEFAULT_CONFIG_PATH))


def read_environment(fields: Mapping[str, Setting]) -> dict[str, Any]:
    """Read the settings in ``FIFTYONE_MEDIA_CACHE_*``, by the name of the field.

    Raises:
        ConfigError: a variable with that prefix is not a setting, or not valid JSON.
    """
    known = {env_name(name): name for name in fields}
    values: dict[str, Any] = {}
    for variable, text in sorted(os.environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_PATH_VARIABLE:
            continue
        if variable not in known:
            raise unknown(f"environment variable {variable}", variable, known)
        if text.strip():
            name = known[variable]
            values[name] = _decode(name, fields[name].kind, text.strip())
    return values


def read_file(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """Read the settings in the JSON file; none if the default file does not exist.

    Raises:
        ConfigError: the file cannot be read, is not a JSON object, or has an unknown key; or the variable
            names a file that does not exist.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if os.environ.get(CONFIG_PATH_VARIABLE):
            raise ConfigError(
                f"{CONFIG_PATH_VARIABLE} names {path}, which does not exist", setting=CONFIG_PATH_VARIABLE
            ) from None
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; fix its permissions or move it away"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold a JSON object of settings, not a {type(values).__name__}")
    others = sorted(values.keys() - set(known))
    if others:
        raise unknown(f"{path}: {shown(others[0])}", others[0], known)
    return values


def unknown(given: str, name: str, known: Iterable[str]) -> ConfigError:
    """The error that ``name`` is not a setting.

    Args:
        given: the name and where it was found.
    """
    return ConfigError(f"{given} is not a setting; known are {', '.join(sorted(known))}", setting=plain(name))


def _decode(name: str, kind: Kind, text: str) -> Any:
    """Decode lists and objects, which are JSON in the environment; commas may also separate a list."""
    if kind.is_json and text[0] in "[{":
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"environment variable {env_name(name)} is not valid JSON: {error}", setting=name
            ) from None
    if kind.is_list:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text
