"""The endpoint and credentials of the MinIO server behind ``minio://bucket/key``.

The names are FiftyOne's. An INI file has a section for each server::

    [default]
    access_key = ...
    secret_access_key = ...
    endpoint_url = https://minio.example.com
    region = us-east-1
    alias = ...

The settings ``minio_config_file`` and ``minio_profile`` name the file and the section; without them
``MINIO_CONFIG_FILE`` and ``MINIO_PROFILE`` do, and ``MINIO_ACCESS_KEY``, ``MINIO_SECRET_ACCESS_KEY``,
``MINIO_ENDPOINT_URL`` and ``MINIO_REGION`` stand in for, or take precedence over, single values of the
file. ``alias``, or ``MINIO_ALIAS``, is another name for ``minio``: see `forebay.uri.aliases`.
``extra_client_kwargs["minio"]`` works as it does for S3.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from forebay.config import MediaCacheConfig
from forebay.config.ini_file import read_profile
from forebay.errors import ConfigError
from forebay.sources.client_words import text
from forebay.sources.routes import checked_endpoint, one_line
from forebay.sources.s3_access import S3Access, new_session
from forebay.sources.signing_keys import SigningKeys

_VARIABLES = {
    "access_key": "MINIO_ACCESS_KEY",
    "secret_access_key": "MINIO_SECRET_ACCESS_KEY",
    "endpoint_url": "MINIO_ENDPOINT_URL",
    "region": "MINIO_REGION",
}


def minio_access(config: MediaCacheConfig) -> S3Access:
    """The endpoint, region and credentials for ``minio://`` URIs.

    Raises:
        ConfigError: there is no endpoint, or the file or its section does not exist.
    """
    values = {name: one_line(text, f"MinIO's {name}") for name, text in _values(config, os.environ).items()}
    access_key, secret_key = values.get("access_key"), values.get("secret_access_key") or ""
    access = S3Access(
        make_session=new_session,
        endpoint=checked_endpoint(values.get("endpoint_url"), "MinIO's endpoint_url"),
        region=values.get("region") or "us-east-1",
        # The AWS credentials of this machine are never sent to MinIO.
        keys=SigningKeys.fixed(access_key, secret_key, None, _origin(config)) if access_key else None,
        path_style=True,
        scheme="minio",
    ).with_settings(config)
    if access.endpoint is None:
        raise ConfigError(
            "minio:// needs the URL of a server; set endpoint_url in minio_config_file, "
            "or MINIO_ENDPOINT_URL",
            setting="minio_config_file",
        )
    return access


def _origin(config: MediaCacheConfig) -> str:
    """Where the keys come from, in words."""
    section = config.minio_profile or os.environ.get("MINIO_PROFILE") or "default"
    in_file = config.minio_config_file or config.rule_words & {"profile", "credentials_file"}
    if in_file or not os.environ.get(_VARIABLES["access_key"]):
        file = config.minio_config_file or os.environ.get("MINIO_CONFIG_FILE", "")
        return f"the MinIO credentials in section [{section}] of {os.path.basename(file)}"
    return "the MinIO credentials in the environment"


def minio_endpoint(config: MediaCacheConfig) -> str | None:
    """The URL of the server as the settings and the environment name it; ``None`` where they do not.

    Raises:
        ConfigError: as `minio_access`.
    """
    given = text(config.extra_client_kwargs.get("minio", {}), "endpoint_url", "minio")
    return given or _values(config, os.environ).get("endpoint_url")


def _values(config: MediaCacheConfig, environment: Mapping[str, str]) -> dict[str, str]:
    values = read_profile("minio_config_file", config.minio_config_file, config.minio_profile, environment)
    found = {key: environment[name] for key, name in _VARIABLES.items() if environment.get(name)}
    if config.rule_words & {"profile", "credentials_file"}:
        # The server may be that of the environment; the keys are those of the profile alone.
        return {key: found[key] for key in ("endpoint_url", "region") if key in found} | values
    return values | found if config.minio_config_file is None else values
