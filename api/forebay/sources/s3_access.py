"""How to reach S3: which endpoint, region and credentials, as boto3 would find them.

boto3 itself resolves profiles, SSO, roles, container and instance credentials, so whatever works for
the AWS tools works here. On top of it come the settings:

* ``aws_profile`` and ``aws_config_file`` take precedence over ``AWS_PROFILE`` and ``AWS_CONFIG_FILE``;
  the file may be a config or a credentials file.
* ``extra_client_kwargs["s3"]`` are arguments of boto3's client. ``endpoint_url``, ``region_name``,
  ``verify``, ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_session_token`` and
  ``config={"s3": {"addressing_style": ...}}`` also apply to obstore. With any other argument, bytes
  move through boto3, which alone honours it.
* ``extra_client_kwargs["s3"]["anonymous"] = true`` sends unsigned requests although there are credentials.

Where no credentials are found at all, requests are not signed, which is what public buckets want.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client

_FOR_BOTH = frozenset({"region_name", "endpoint_url", "verify"})
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
# The regions whose endpoints are s3.<region>.amazonaws.com.
_ORDINARY_REGION = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)(-gov)?-[a-z]+-\d+")
_DNS_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# botocore renews credentials that have less than 15 minutes left and never gives away any with less
# than 10, so what it gives can be used that long.
_LENT_FOR = timedelta(minutes=10)


@dataclass
class Access:
    """What is known about a way into S3 before the first request.

    Attributes:
        session: of botocore, with the credentials in it.
        endpoint: a custom endpoint; ``None`` for AWS itself.
        arguments: further arguments of boto3's client.
        client_config: arguments of `botocore.config.Config`.
        path_style: whether buckets are part of the path; ``None`` leaves it to boto3's rules.
    """

    session: Session
    endpoint: str | None
    region: str
    credentials: Lender | None
    verify: bool | str | None
    path_style: bool | None
    arguments: dict[str, Any]
    client_config: dict[str, Any]
    connect_timeout: float
    read_timeout: float
    verify_checksums: bool
    anonymous: Anonymous = field(default_factory=lambda: Anonymous())  # noqa: PLW0108 - defined below

    @property
    def lender(self) -> Lender | Anonymous:
        return self.credentials or self.anonymous

    @property
    def needs_boto(self) -> bool:
        """Whether something is configured that obstore has no word for."""
        unknown = set(self.client_config) - {"s3", "max_pool_connections"}
        return bool(self.arguments or unknown or "signature_version" in self.s3_options)

    @property
    def s3_options(self) -> dict[str, Any]:
        """The ``s3`` section of the AWS config file, with what the settings say about it."""
        section = self.session.get_config_variable("s3") or {}
        return {**section, **self.client_config.get("s3", {})}

    def client(self, region: str | None = None) -> S3Client:
        """Makes a boto3 client that tries everything once."""
        import boto3.session
        import botocore
        from botocore.config import Config

        options: dict[str, Any] = {
            "connect_timeout": self.connect_timeout,
            "read_timeout": self.read_timeout,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "max_pool_connections": 128,
            "response_checksum_validation": "when_supported" if self.verify_checksums else "when_required",
        }
        if self.credentials is None:
            options["signature_version"] = botocore.UNSIGNED
        elif "signature_version" not in self.s3_options:
            # What boto3 signs URLs with otherwise, in some regions, is no longer accepted everywhere.
            options["signature_version"] = "s3v4"
        if self.path_style is not None:
            options["s3"] = {"addressing_style": "path" if self.path_style else "virtual"}
        try:
            config = Config(**options).merge(Config(**self.client_config))
            client: S3Client = boto3.session.Session(botocore_session=self.session).client(
                "s3",
                region_name=region or self.region,
                endpoint_url=self.endpoint,
                verify=self.verify,
                config=config,
                **self.arguments,
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"setting extra_client_kwargs: boto3 does not accept it: {error}") from None
        return client

    def address(self, bucket: str, region: str) -> tuple[str, bool]:
        """Where obstore finds a bucket: the endpoint, and whether the bucket is part of its host."""
        options = self.s3_options
        virtual = options.get("addressing_style") == "virtual" and not self.path_style
        if self.endpoint is not None:
            if not virtual:
                return self.endpoint, False
            parts = urlsplit(self.endpoint)
            return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl(), True
        if self._is_special(options) or not _ORDINARY_REGION.fullmatch(region):
            return self._ask_boto(bucket, region)
        in_path = options.get("addressing_style") == "path" or not _DNS_NAME.fullmatch(bucket)
        host = f"s3.{region}.amazonaws.com"
        return (f"https://{host}", False) if in_path else (f"https://{bucket}.{host}", True)

    def _is_special(self, options: Mapping[str, Any]) -> bool:
        names = ("use_dualstack_endpoint", "use_fips_endpoint")
        switches = [options.get("use_accelerate_endpoint"), options.get("use_dualstack_endpoint")]
        switches += [self.session.get_config_variable(name) for name in names]
        return any(str(switch).lower() == "true" for switch in switches)

    def _ask_boto(self, bucket: str, region: str) -> tuple[str, bool]:
        # A signed URL follows every rule there is about endpoints.
        url = self.client(region).generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}", parts.path == "/k"


class Lender:
    """Lends obstore the credentials that botocore keeps fresh.

    (`obstore.auth.boto3` would do, but needs Python 3.11.)
    """

    def __init__(self, credentials: Credentials, description: str) -> None:
        from botocore.credentials import RefreshableCredentials

        self.description = description
        self.error: Exception | None = None
        self._credentials = credentials
        self._expires = isinstance(credentials, RefreshableCredentials)

    def __call__(self) -> dict[str, Any]:
        try:
            keys = self._credentials.get_frozen_credentials()
        except Exception as error:
            self.error = error
            raise
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(timezone.utc) + _LENT_FOR if self._expires else None,
        }


@dataclass
class Anonymous:
    """No credentials."""

    description: str = "no credentials (none were found, so the request was not signed)"
    error: Exception | None = None


def aws_access(config: MediaCacheConfig) -> Access:
    """How to reach ``s3://`` URIs.

    Raises:
        ConfigError: the file or profile does not exist, or the AWS configuration is broken.
    """
    from botocore.exceptions import BotoCoreError, ProfileNotFound

    extra = dict(config.extra_client_kwargs.get("s3", {}))
    session = new_session(config.aws_profile)
    if config.aws_config_file is not None:
        path = existing_file("setting aws_config_file", config.aws_config_file)
        # botocore tells the two kinds of file apart by the spelling of their sections.
        session.set_config_variable("config_file", path)
        session.set_config_variable("credentials_file", path)
    try:
        scoped = session.get_scoped_config()
        return access(
            session,
            config,
            extra,
            endpoint=_configured_endpoint(session, scoped),
            region=session.get_config_variable("region"),
        )
    except ProfileNotFound as error:
        where = "setting aws_profile" if config.aws_profile else "environment variable AWS_PROFILE"
        known = ", ".join(session.available_profiles) or "none"
        raise ConfigError(f"{where}: {error}; there are: {known}") from None
    except BotoCoreError as error:
        raise ConfigError(f"the AWS configuration cannot be used: {error}") from None


def access(
    session: Session,
    config: MediaCacheConfig,
    extra: dict[str, Any],
    *,
    endpoint: str | None,
    region: str | None,
    path_style: bool | None = None,
    name: str = "AWS",
) -> Access:
    """Puts together what a session found and what the user asked for besides."""
    anonymous = bool(extra.pop("anonymous", False))
    keys = [extra.pop(name, None) for name in _KEYS]
    client_config = dict(extra.pop("config", {}))
    shared = {name: extra.pop(name) for name in tuple(extra) if name in _FOR_BOTH}
    if keys[0] is not None:
        session.set_credentials(*keys)
    credentials = None if anonymous else session.get_credentials()
    return Access(
        session=session,
        endpoint=shared.get("endpoint_url") or endpoint,
        region=shared.get("region_name") or region or "us-east-1",
        credentials=Lender(credentials, _describe(name, session, credentials)) if credentials else None,
        verify=shared.get("verify", session.get_config_variable("ca_bundle")),
        path_style=path_style,
        arguments=extra,
        client_config=client_config,
        connect_timeout=config.connect_timeout_seconds,
        read_timeout=config.read_timeout_seconds,
        verify_checksums=config.verify_checksums,
        anonymous=Anonymous("no credentials (extra_client_kwargs asks for unsigned requests)")
        if anonymous
        else Anonymous(),
    )


def existing_file(name: str, path: str) -> str:
    """``path`` with ``~`` expanded.

    Raises:
        ConfigError: there is no such file; the message begins with ``name``.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isfile(expanded):
        raise ConfigError(f"{name}={path!r}: there is no such file")
    return expanded


def new_session(profile: str | None) -> Session:
    """A botocore session of our own."""
    import botocore.session

    session = botocore.session.Session(profile=profile)
    # This disturbs nobody else's session; dateutil would take most of the time of a listing.
    factory = session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=_timestamp)
    return session


def _timestamp(value: Any) -> datetime:
    from botocore.utils import parse_timestamp

    if isinstance(value, str) and value.endswith("Z") and len(value) in (20, 24):
        return datetime.fromisoformat(value[:-1] + "+00:00")
    parsed: datetime = parse_timestamp(value)
    return parsed


def _configured_endpoint(session: Session, scoped: Mapping[str, Any]) -> str | None:
    """A service-specific endpoint, in the order that AWS documents for its SDKs."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    services = session.full_config.get("services", {}).get(scoped.get("services"), {})
    return (
        os.environ.get("AWS_ENDPOINT_URL_S3")
        or os.environ.get("AWS_ENDPOINT_URL")
        or services.get("s3", {}).get("endpoint_url")
        or scoped.get("endpoint_url")
    )


def _describe(name: str, session: Session, credentials: Credentials) -> str:
    method = credentials.method
    if method == "env":
        return f"the {name} credentials in the environment"
    if method == "explicit":
        return f"the {name} credentials that were configured"
    return f"the {name} credentials of profile {session.profile or 'default'!r} ({method})"
