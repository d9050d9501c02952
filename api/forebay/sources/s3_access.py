"""What must be known to reach an S3 server, in the words of both boto3 and obstore.

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

# The regions whose endpoints are s3.<region>.amazonaws.com.
_ORDINARY_REGION = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)(-gov)?-[a-z]+-\d+")
_DNS_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# botocore has an opinion about when keys are due for renewal, so it is asked again and again. obstore
# takes keys for used up when less than 5 minutes are left, so it comes back after 5.
_LENT_FOR = timedelta(minutes=10)


class Keys(Protocol):
    """What signs a request."""

    @property
    def access_key(self) -> str | None: ...

    @property
    def secret_key(self) -> str | None: ...

    @property
    def token(self) -> str | None: ...


class FixedKeys(NamedTuple):
    """Keys that never expire."""

    access_key: str
    secret_key: str
    token: str | None = None


class Lender:
    """Lends obstore the keys that somebody else keeps fresh.

    (`obstore.auth.boto3` would do, but needs Python 3.11.)

    Args:
        fetch: gives the keys, renewed if need be.
        description: what they are, for error messages.
        expiry: when the keys that were fetched last expire; ``None`` if they never do.
    """

    def __init__(
        self,
        fetch: Callable[[], Keys],
        description: str,
        *,
        expiry: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self.description = description
        self.error: Exception | None = None
        self._fetch = fetch
        self._expiry = expiry

    @classmethod
    def of(cls, keys: FixedKeys, description: str) -> Lender:
        """Lends fixed keys."""
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
            "expires_at": min(expiry.astimezone(timezone.utc), now + _LENT_FOR) if expiry else None,
        }


@dataclass(frozen=True)
class Nobody:
    """Stands where a `Lender` would, if there were credentials."""

    description: str = "no credentials (none were found, so the request was not signed)"
    error: Exception | None = None


@dataclass(frozen=True)
class Access:
    """A way into S3.

    Attributes:
        make_session: makes the botocore session of boto3's client, with the credentials in it.
        endpoint: a custom endpoint; ``None`` for AWS itself.
        lender: lends the keys that sign requests; a `Nobody` where none are signed.
        verify: as boto3 takes it: ``False``, or the path of a bundle of authorities.
        s3_options: the ``s3`` section of the AWS config file, and its like from the settings.
        has_special_endpoint: the endpoint depends on switches such as dual-stack or FIPS.
        path_style: whether buckets are always part of the path; else boto3's rules decide.
        arguments: further arguments of boto3's client.
        client_config: arguments of `botocore.config.Config`.
        scheme: of the URIs that it is for.
    """

    make_session: Callable[[], Session]
    endpoint: str | None
    region: str
    lender: Lender | Nobody
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
        return isinstance(self.lender, Lender)

    @property
    def needs_boto(self) -> bool:
        """Whether something is configured that obstore has no word for."""
        unknown = set(self.client_config) - {"s3", "max_pool_connections"}
        return bool(self.arguments or unknown or "signature_version" in self.s3_options)

    def with_settings(self, config: MediaCacheConfig, extra: Mapping[str, Any]) -> Access:
        """This way, as the user's settings change it.

        Args:
            extra: what ``extra_client_kwargs`` holds for this kind of source.
        """
        arguments = dict(extra)
        client_config = dict(arguments.pop("config", {}))
        access_key, secret_key, token = (
            arguments.pop(f"aws_{name}", None)
            for name in ("access_key_id", "secret_access_key", "session_token")
        )
        lender, make_session = self.lender, self.make_session
        if access_key is not None:
            keys = FixedKeys(access_key, secret_key or "", token)
            lender = Lender.of(keys, "the credentials in extra_client_kwargs")
            make_session = session_with(keys)
        if arguments.pop("anonymous", False):
            lender = Nobody("no credentials (extra_client_kwargs asks for unsigned requests)")
        return replace(
            self,
            make_session=make_session,
            endpoint=arguments.pop("endpoint_url", None) or self.endpoint,
            region=arguments.pop("region_name", None) or self.region,
            lender=lender,
            verify=arguments.pop("verify", self.verify),
            s3_options={**self.s3_options, **client_config.get("s3", {})},
            arguments=arguments,
            client_config=client_config,
            connect_timeout=config.connect_timeout_seconds,
            read_timeout=config.read_timeout_seconds,
            verify_checksums=config.verify_checksums,
        )

    def client(self, region: str | None = None, *, attempts: int = 1) -> S3Client:
        """Makes a client that tries everything once. (It is botocore's, all that boto3 adds are uploads.)

        Args:
            attempts: how often it tries, for whoever does not go on by itself.

        Raises:
            ConfigError: boto3 does not accept what ``extra_client_kwargs`` says.
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
            # What boto3 signs URLs with otherwise, in some regions, is no longer accepted everywhere.
            options["signature_version"] = "s3v4"
        if self.path_style:
            options["s3"] = {"addressing_style": "path"}
        elif self.endpoint is None and "addressing_style" not in self.s3_options:
            # As by default, but for signed URLs, which otherwise name an endpoint that newer regions lack.
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
        """Where obstore finds a bucket: the endpoint, and whether the bucket is part of its host."""
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
    """A botocore session of our own."""
    import botocore.session

    session = botocore.session.Session(profile=profile)
    # This disturbs nobody else's session; dateutil would take most of the time of a listing.
    factory = session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=_timestamp)
    return session


def session_with(keys: FixedKeys) -> Callable[[], Session]:
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
