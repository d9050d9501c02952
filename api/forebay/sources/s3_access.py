"""The endpoint, credentials and options of an S3 server, for both boto3 and obstore.

``extra_client_kwargs["s3"]`` (or ``["minio"]``) are arguments of boto3's client. ``endpoint_url``,
``region_name``, ``verify``, ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_session_token`` and
``config={"s3": {"addressing_style": ...}}`` also apply to obstore. With any other argument, bytes move
through boto3, which alone honours it. ``anonymous=true`` sends unsigned requests although there are
credentials.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client

# botocore is imported in the functions that need it: it takes 100 ms, and obstore mostly does without.

# The regions whose endpoints are s3.<region>.amazonaws.com.
_ORDINARY_REGION = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)(-gov)?-[a-z]+-\d+")
_DNS_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# botocore has an opinion about when keys are due for renewal, so it is asked again and again. obstore
# takes keys for used up when less than 5 minutes are left, so it comes back after 5.
_RENEWAL_INTERVAL = timedelta(minutes=10)


class AccessKeys(Protocol):
    """The keys that sign a request."""

    @property
    def access_key(self) -> str | None: ...

    @property
    def secret_key(self) -> str | None: ...

    @property
    def token(self) -> str | None: ...


class FixedAccessKeys(NamedTuple):
    """Keys that never expire."""

    access_key: str
    secret_key: str
    token: str | None = None


class S3CredentialProvider:
    """Gives obstore the keys that botocore keeps fresh.

    (`obstore.auth.boto3` would do, but needs Python 3.11.)

    Args:
        fetch: returns the keys, renewed if they are about to expire.
        description: what they are, for error messages.
        expiry: returns when the keys that were fetched last expire; ``None`` if they never do.
    """

    def __init__(
        self,
        fetch: Callable[[], AccessKeys],
        description: str,
        *,
        expiry: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self.description = description
        self.error: Exception | None = None
        self._fetch = fetch
        self._expiry = expiry

    @classmethod
    def of(cls, keys: FixedAccessKeys, description: str) -> S3CredentialProvider:
        """A provider of keys that never expire."""
        return cls(lambda: keys, description)

    def __call__(self) -> dict[str, Any]:
        try:
            keys = self._fetch()
        except Exception as error:
            self.error = error
            raise
        now, expiry = datetime.now(timezone.utc), self._expiry()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            # obstore knows no time zones but this one.
            "expires_at": min(expiry.astimezone(timezone.utc), now + _RENEWAL_INTERVAL) if expiry else None,
        }


@dataclass(frozen=True)
class NoCredentials:
    """Takes the place of an `S3CredentialProvider` where there are no credentials."""

    description: str = "no credentials (none were found, so the request was not signed)"
    error: Exception | None = None


@dataclass(frozen=True)
class S3Access:
    """An S3 server and how it is reached.

    Attributes:
        make_session: makes the botocore session of boto3's client, with the credentials in it.
        endpoint: a custom endpoint; ``None`` for AWS itself.
        credential_provider: gives the keys that sign requests; a `NoCredentials` where none are signed.
        verify: as boto3 takes it: ``False``, or the path of a bundle of authorities.
        s3_options: the ``s3`` section of the AWS config file, and its like from the settings.
        has_special_endpoint: the endpoint depends on switches such as dual-stack or FIPS.
        path_style: whether buckets are always part of the path; else boto3's rules decide.
        arguments: further arguments of boto3's client.
        client_config: arguments of `botocore.config.Config`.
        connect_timeout: in seconds.
        read_timeout: in seconds; how long to wait for the next bytes.
        verify_checksums: whether boto3 compares an object's bytes with its checksum.
        scheme: of the URIs that it is for.
    """

    make_session: Callable[[], Session]
    endpoint: str | None
    region: str
    credential_provider: S3CredentialProvider | NoCredentials
    verify: bool | str | None = None
    s3_options: Mapping[str, Any] = field(default_factory=dict)
    has_special_endpoint: bool = False
    path_style: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    client_config: Mapping[str, Any] = field(default_factory=dict)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    verify_checksums: bool = False
    scheme: str = "s3"

    @property
    def is_signed(self) -> bool:
        return isinstance(self.credential_provider, S3CredentialProvider)

    @property
    def needs_boto(self) -> bool:
        """Whether an option is configured that obstore does not have."""
        unknown = set(self.client_config) - {"s3", "max_pool_connections"}
        return bool(self.arguments or unknown or "signature_version" in self.s3_options)

    def with_settings(self, config: MediaCacheConfig, extra: Mapping[str, Any]) -> S3Access:
        """A copy with the user's settings applied.

        Args:
            extra: the part of ``extra_client_kwargs`` for this kind of source.
        """
        arguments = dict(extra)
        client_config = dict(arguments.pop("config", {}))
        access_key, secret_key, token = (
            arguments.pop(f"aws_{name}", None)
            for name in ("access_key_id", "secret_access_key", "session_token")
        )
        credential_provider, make_session = self.credential_provider, self.make_session
        if access_key is not None:
            keys = FixedAccessKeys(access_key, secret_key or "", token)
            credential_provider = S3CredentialProvider.of(keys, "the credentials in extra_client_kwargs")
            make_session = session_with(keys)
        if arguments.pop("anonymous", False):
            credential_provider = NoCredentials(
                "no credentials (extra_client_kwargs asks for unsigned requests)"
            )
        return replace(
            self,
            make_session=make_session,
            endpoint=arguments.pop("endpoint_url", None) or self.endpoint,
            region=arguments.pop("region_name", None) or self.region,
            credential_provider=credential_provider,
            verify=arguments.pop("verify", self.verify),
            s3_options={**self.s3_options, **client_config.get("s3", {})},
            arguments=arguments,
            client_config=client_config,
            connect_timeout=config.connect_timeout_seconds,
            read_timeout=config.read_timeout_seconds,
            verify_checksums=config.verify_checksums,
        )

    def client(self, region: str | None = None, *, attempts: int = 1) -> S3Client:
        """Makes an S3 client. (It is botocore's: boto3 would add nothing but its uploads.)

        Args:
            attempts: how many attempts the client makes; more than 1 for callers without their own retry.

        Raises:
            ConfigError: boto3 does not accept ``extra_client_kwargs``.
        """
        import botocore
        from botocore.config import Config

        options: dict[str, Any] = {
            "connect_timeout": self.connect_timeout,
            "read_timeout": self.read_timeout,
            "retries": {"total_max_attempts": attempts, "mode": "standard"},
            "max_pool_connections": 128,
            "response_checksum_validation": "when_supported" if self.verify_checksums else "when_required",
        }
        if not self.is_signed:
            options["signature_version"] = botocore.UNSIGNED
        elif "signature_version" not in self.s3_options:
            # In some regions boto3 signs URLs in an older way, which is no longer accepted everywhere.
            options["signature_version"] = "s3v4"
        if self.path_style:
            options["s3"] = {"addressing_style": "path"}
        elif self.endpoint is None and "addressing_style" not in self.s3_options:
            # The default, except that signed URLs would name an endpoint that newer regions lack.
            options["s3"] = {"addressing_style": "virtual"}
        try:
            config = Config(**options).merge(Config(**self.client_config))
            client = self.make_session().create_client(
                "s3",
                region_name=region or self.region,
                endpoint_url=self.endpoint,
                verify=self.verify,
                config=config,
                **self.arguments,
            )
        except (TypeError, ValueError) as error:
            raise ConfigError(f"setting extra_client_kwargs: boto3 does not accept it: {error}") from None
        return cast("S3Client", client)

    def address(self, bucket: str, region: str) -> tuple[str, bool]:
        """The endpoint of a bucket for obstore, and whether the bucket is part of its host name."""
        style = "path" if self.path_style else self.s3_options.get("addressing_style")
        can_be_host = _DNS_NAME.fullmatch(bucket) is not None
        if self.endpoint is not None:
            if style != "virtual" or not can_be_host:
                return self.endpoint, False
            parts = urlsplit(self.endpoint)
            return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl(), True
        if self.has_special_endpoint or not _ORDINARY_REGION.fullmatch(region):
            return self._ask_boto(bucket, region)
        host = f"s3.{region}.amazonaws.com"
        if style == "path" or not can_be_host:
            return f"https://{host}", False
        return f"https://{bucket}.{host}", True

    def _ask_boto(self, bucket: str, region: str) -> tuple[str, bool]:
        # A signed URL follows every rule there is about endpoints.
        url = self.client(region).generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc}", parts.path == "/k"


def new_session(profile: str | None = None) -> Session:
    """A botocore session that is not shared with other code in this process."""
    import botocore.session

    session = botocore.session.Session(profile=profile)
    # Set on this session alone: with the default, dateutil takes most of the time of a listing.
    factory = session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=_timestamp)
    return session


def session_with(keys: FixedAccessKeys) -> Callable[[], Session]:
    """Makes sessions that sign with ``keys``."""

    def make() -> Session:
        session = new_session()
        session.set_credentials(*keys)
        return session

    return make


def existing_file(name: str, path: str) -> str:
    """``path`` with ``~`` expanded.

    Raises:
        ConfigError: there is no such file; the message begins with ``name``.
    """
    expanded = os.path.expanduser(path)
    if not os.path.isfile(expanded):
        raise ConfigError(f"{name}={path!r}: there is no such file")
    return expanded


def _timestamp(value: Any) -> datetime:
    from botocore.utils import parse_timestamp

    if isinstance(value, str) and value.endswith("Z") and len(value) in (20, 24):
        return datetime.fromisoformat(value[:-1] + "+00:00")
    parsed: datetime = parse_timestamp(value)
    return parsed
