"""INI files with the credentials of a server: a section for each profile, as FiftyOne names them.

Values are interpolated as Python's `configparser` does it, so ``%%`` is ``%`` and ``%(name)s`` another value
of the section. A value in which a ``%`` is neither is taken as it is, since secrets have them.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping

from forebay.errors import ConfigError
from forebay.uri import shown


def read_profile(
    name: str, setting: str | None, profile: str | None, environment: Mapping[str, str]
) -> dict[str, str]:
    """The values of one section of a file; none where no file is named.

    Args:
        name: of the setting that names the file, such as ``minio_config_file``. The environment variable
            of the same name in capitals stands in for it.
        setting: its value.
        profile: the section; by default the one that the environment names (``MINIO_PROFILE``), else
            ``default``.

    Raises:
        ConfigError: there is no such file or section, or the file is no INI file; or a section is named, and
            no file.
    """
    path = setting or environment.get(name.upper())
    if not path:
        if profile and profile != "default":
            own = f"{name.partition('_')[0]}_profile"
            raise ConfigError(
                f"setting {own}={shown(profile)}: no file is named that has this section; "
                f"set {name} or {name.upper()}",
                setting=own,
            )
        return {}
    origin, named = ("setting", name) if setting else ("environment variable", name.upper())
    section = profile or environment.get(f"{name.partition('_')[0].upper()}_PROFILE") or "default"
    # `default` is a section like any other.
    parser = configparser.ConfigParser(default_section="")
    path = existing_file(origin, named, path)
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise ConfigError(
            f"{origin} {named}={shown(path)} is no INI file that can be read: {type(error).__name__}",
            setting=named,
        ) from None
    if not parser.has_section(section):
        known = ", ".join(parser.sections()) or "none"
        raise ConfigError(
            f"{origin} {named}={shown(path)} has no section [{section}]; there are: {known}", setting=named
        )
    return {option: _value(parser, section, option, path) for option in parser.options(section)}


def _value(parser: configparser.ConfigParser, section: str, option: str, path: str) -> str:
    try:
        return parser.get(section, option)
    except configparser.InterpolationSyntaxError:
        return parser.get(section, option, raw=True)
    except configparser.InterpolationError:
        # Its text has the value.
        raise ConfigError(
            f"{option} in section [{section}] of {os.path.basename(path)} refers to a value that the section "
            "does not have; write %% for a percent sign"
        ) from None


def existing_file(origin: str, name: str, path: str) -> str:
    """``path`` with ``~`` expanded.

    Args:
        origin: where the path comes from: ``setting`` or ``environment variable``.
        name: of that setting or variable.

    Raises:
        ConfigError: there is no such file.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isfile(expanded):
        raise ConfigError(f"{origin} {name}={shown(path)}: there is no such file", setting=name)
    return expanded
