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
file. ``alias`` is read and ignored. ``extra_client_kwargs["minio"]`` works as it does for S3.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.sources.routes import checked_endpoint, one_line
from forebay.sources.s3_access import S3Access, existing_file, new_session
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
        keys=SigningKeys.fixed(access_key, secret_key, None, "the MinIO credentials") if access_key else None,
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


def _values(config: MediaCacheConfig, environment: Mapping[str, str]) -> dict[str, str]:
    path = config.minio_config_file or environment.get("MINIO_CONFIG_FILE")
    values: dict[str, str] = {}
    if path:
        origin, name = "setting", "minio_config_file"
        if config.minio_config_file is None:
            origin, name = "environment variable", "MINIO_CONFIG_FILE"
        section = config.minio_profile or environment.get("MINIO_PROFILE") or "default"
        values = _read(origin, name, existing_file(origin, name, path), section)
    if config.minio_config_file is None:
        values |= {key: environment[name] for key, name in _VARIABLES.items() if environment.get(name)}
    return values


def _read(origin: str, name: str, path: str, section: str) -> dict[str, str]:
    # `default` is a section like any other, and values may contain %.
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read(path)
    except configparser.Error as error:
        raise ConfigError(
            f"{origin} {name}={path!r} is no INI file: {type(error).__name__}", setting=name
        ) from None
    if not parser.has_section(section):
        known = ", ".join(parser.sections()) or "none"
        raise ConfigError(
            f"{origin} {name}={path!r} has no section [{section}]; there are: {known}", setting=name
        )
    return dict(parser.items(section))
