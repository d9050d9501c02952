"""FiftyOne's own configuration: the list of modules that it imports when it starts.

The adapter is switched on by its name in that list: ``module_path`` in FiftyOne's file, or the variable
``FIFTYONE_MODULE_PATH``, which takes precedence over the file. This is not in `forebay.fiftyone`, because the
command line must edit the list without importing FiftyOne or the adapter.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from forebay.errors import ConfigError

MODULE = "forebay.fiftyone"
"""The adapter."""

VARIABLE = "FIFTYONE_MODULE_PATH"

_KEY = "module_path"


def config_path() -> Path:
    """The file that FiftyOne reads: that of ``FIFTYONE_CONFIG_PATH``, or ``~/.fiftyone/config.json``."""
    # Not by `Path.home`, which raises where this user has no home directory.
    return Path(os.environ.get("FIFTYONE_CONFIG_PATH") or os.path.expanduser("~/.fiftyone/config.json"))


def in_environment() -> list[str] | None:
    """The modules named by the variable; ``None`` if it is unset or empty, so that the file applies."""
    value = os.environ.get(VARIABLE)
    return value.split(":") if value else None


def in_file() -> list[str]:
    """The modules named by the file.

    Raises:
        ConfigError: the file cannot be read, or FiftyOne could not parse it.
    """
    return _modules(_read())


def modules() -> list[str]:
    """The modules that FiftyOne imports when it starts in this environment.

    Raises:
        ConfigError: as `in_file`, if the file applies.
    """
    named = in_environment()
    return in_file() if named is None else named


def enable() -> bool:
    """Add the adapter to the file, after the modules that are there, and change nothing else.

    Returns:
        whether the file changed.

    Raises:
        ConfigError: the file cannot be read or written; it is unchanged.
    """
    settings = _read()
    named = _modules(settings)
    if MODULE in named:
        return False
    _write(settings | {_KEY: [*named, MODULE]})
    return True


def disable() -> bool:
    """Remove the adapter from the file, and change nothing else.

    Returns:
        whether the file changed.

    Raises:
        ConfigError: the file cannot be read or written; it is unchanged.
    """
    settings = _read()
    named = _modules(settings)
    if MODULE not in named:
        return False
    settings[_KEY] = [name for name in named if name != MODULE]
    if not settings[_KEY]:
        del settings[_KEY]
    _write(settings)
    return True


def _read() -> dict[str, Any]:
    path = config_path()
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(
            f"{path}, the configuration of FiftyOne, cannot be read: {error.strerror}"
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"{path}, the configuration of FiftyOne, is not valid JSON: {error}; fix it first"
        ) from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}, the configuration of FiftyOne, must hold a JSON object; fix it first")
    return settings


def _modules(settings: dict[str, Any]) -> list[str]:
    named = settings.get(_KEY)
    if named is None:
        return []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ConfigError(
            f"{config_path()}: {_KEY} must be a list of names of modules, not {json.dumps(named)}; "
            "fix it first"
        )
    return named


def _write(settings: dict[str, Any]) -> None:
    partial = None
    try:
        # A symbolic link is kept: its target is replaced.
        path = config_path().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with open(handle, "w", encoding="utf-8") as file:
            json.dump(settings, file, indent=4, ensure_ascii=False)
            file.write("\n")
        os.chmod(partial, mode)
        os.replace(partial, path)
    except OSError as error:
        if partial is not None:
            Path(partial).unlink(missing_ok=True)
        raise ConfigError(
            f"{config_path()}, the configuration of FiftyOne, cannot be written: {error.strerror}"
        ) from None
