"""The endpoint, credentials and options of an S3 server: read once, for the transport and for boto3.

``extra_client_kwargs["s3"]`` (or ``["minio"]``) are arguments of boto3's client. ``endpoint_url``,
``region_name``, ``verify``, ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_session_token``, and of
``config`` ``s3``, ``proxies``, ``client_cert``, ``user_agent``, ``user_agent_extra`` and the time-outs also
apply to what the transport reads. ``anonymous=true`` sends unsigned requests although there are credentials.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError
from forebay.sources.client_words import (
    check_kinds,
    check_words,
    mapping,
    own_copy,
    say_ignored,
    seconds,
    text,
    trust,
)
from forebay.sources.credential_rules import by_rule
from forebay.sources.request_payer import make_requester_pay
from forebay.sources.routes import checked_endpoint, limits_of, one_line
from forebay.sources.signing_keys import SigningKeys
from forebay.transport import Limits
from forebay.transport.guard import literal_address
from forebay.transport.proxies import Proxies, proxies_from
from forebay.transport.tls import TLS, tls_from

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_s3 import S3Client

# botocore is imported in the functions that need it: it takes 100 ms, and reading mostly does without.

# The regions whose endpoints are s3.<region>.amazonaws.com.
_ORDINARY_REGION = re.compile(r"(af|ap|ca|eu|il|me|mx|sa|us)(-gov)?-[a-z]+-\d+")
_DNS_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# What botocore's `Session.create_client` takes, and what Forebay adds to it.
_CLIENT_WORDS = frozenset(
    {"region_name", "api_version", "use_ssl", "verify", "endpoint_url", "aws_access_key_id", "anonymous"}
    | {"aws_secret_access_key", "aws_session_token", "aws_account_id"}
)
_READ_HERE = _CLIENT_WORDS - {"api_version", "use_ssl", "aws_account_id"}
# Of botocore's `Config`, what means something to downloads and listings.
_MEANT = frozenset(
    {"s3", "proxies", "client_cert", "user_agent", "user_agent_extra", "connect_timeout", "read_timeout"}
    | {"signature_version"}
)
# Those that are known without botocore, which takes 100 ms to import.
_COMMON_OPTIONS = frozenset({"s3", "proxies", "max_pool_connections"})
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


@dataclass(frozen=True)
class S3Access:
    """An S3 server and how it is reached.

    Attributes:
        make_session: makes the botocore session of boto3's client.
        endpoint: a custom endpoint; ``None`` for AWS itself.
        keys: sign requests; ``None`` where none are signed.
        unsigned: why requests are not signed, for error messages.
        s3_options: the ``s3`` section of the AWS config file, and its like from the settings.
        has_special_endpoint: the endpoint depends on switches such as dual-stack or FIPS.
        path_style: whether buckets are always part of the path; else boto3's rules decide.
        arguments: further arguments of boto3's client.
        client_config: arguments of `botocore.config.Config`.
        requester_pays: whether requests say that their sender pays for them.
        scheme: of the URIs that it is for.
        rule: the prefix in the setting ``credentials`` that it is for; empty for none.
    """

    make_session: Callable[[], Session]
    endpoint: str | None
    region: str
    keys: SigningKeys | None
    unsigned: str = "no credentials (none were found, so the request was not signed)"
    bundle: str | None = None
    s3_options: Mapping[str, Any] = field(default_factory=dict)
    has_special_endpoint: bool = False
    path_style: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    client_config: Mapping[str, Any] = field(default_factory=dict)
    tls: TLS = field(default_factory=TLS)
    proxies: Proxies = field(default_factory=Proxies)
    limits: Limits = field(default_factory=Limits)
    verify_checksums: bool = False
    requester_pays: bool = False
    scheme: str = "s3"
    rule: str = ""

    @property
    def description(self) -> str:
        """The credentials in words, without secrets."""
        found = self.keys.description if self.keys is not None else self.unsigned
        return by_rule(found, self.rule)

    @property
    def agent(self) -> str | None:
        """The user agent that the settings ask for."""
        words = ("user_agent", "user_agent_extra")
        parts = [text(self.client_config, name, self.scheme) for name in words]
        return " ".join(part for part in parts if part) or None

    def with_settings(self, config: MediaCacheConfig) -> S3Access:
        """A copy with the user's settings applied, and with what the environment says of TLS and proxies.

        Raises:
            ConfigError: one of them cannot be used.
        """
        arguments = own_copy(config, self.scheme)
        where = f"setting extra_client_kwargs, {self.scheme!r}"
        options = _options(arguments, self.scheme)
        access_key, secret_key, token = (
            one_line(text(arguments, name, self.scheme), f"{where}: {name}") for name in _KEYS
        )
        keys, unsigned = self.keys, self.unsigned
        if access_key is not None:
            named = config.credentials.get(config.rule, {}).get("access_key_variable")
            origin = f"the environment variable {named}" if named else "extra_client_kwargs"
            keys = SigningKeys.fixed(access_key, secret_key or "", token, f"the credentials in {origin}")
        if arguments.get("anonymous"):
            origin = "anonymous" if "anonymous" in config.rule_words else "extra_client_kwargs"
            keys, unsigned = None, f"no credentials ({origin} asks for unsigned requests)"
        if options.get("signature_version", "s3v4") not in ("s3v4", "v4"):
            raise ConfigError(
                f"{where}: requests are signed with signature_version 's3v4', and no other",
                setting="extra_client_kwargs",
            )
        endpoint = checked_endpoint(text(arguments, "endpoint_url", self.scheme), f"{where}: endpoint_url")
        region = one_line(text(arguments, "region_name", self.scheme), f"{where}: region_name")
        verify = trust(arguments, "verify", self.scheme)
        arguments = {name: value for name, value in arguments.items() if name not in _READ_HERE}
        variables, bundle_setting = dict(os.environ), f"{where}: verify"
        if verify is None and self.bundle and not variables.get("AWS_CA_BUNDLE"):
            verify, bundle_setting = self.bundle, "the AWS configuration's ca_bundle"
        limits = limits_of(config)
        access = replace(
            self,
            endpoint=endpoint or self.endpoint,
            region=region or self.region,
            keys=keys,
            unsigned=unsigned,
            s3_options={**self.s3_options, **mapping(options, "s3", self.scheme)},
            arguments=arguments,
            client_config=options,
            tls=tls_from(variables, verify=verify, cert=options.get("client_cert"), setting=bundle_setting),
            proxies=proxies_from(
                variables,
                settings=mapping(options, "proxies", self.scheme, texts=True),
                setting=f"{where}: proxies",
            ),
            limits=replace(
                limits,
                connect_seconds=seconds(options, "connect_timeout", limits.connect_seconds, self.scheme),
                idle_seconds=seconds(options, "read_timeout", limits.idle_seconds, self.scheme),
            ),
            verify_checksums=config.verify_checksums,
            requester_pays=config.requester_pays
            and (self.scheme == "s3" or "requester_pays" in config.rule_words),
            rule=config.rule,
        )
        say_ignored([*arguments, *options.keys() - _MEANT], self.scheme)
        if arguments or set(options) - _COMMON_OPTIONS:
            access.client()  # which refuses what it does not know
        return access

    def client(self, region: str | None = None, *, attempts: int = 1) -> S3Client:
        """Makes an S3 client. (It is botocore's: boto3 would add nothing but its uploads.)

        Args:
            attempts: how many attempts the client makes; more than 1 for callers without their own retry.

        Raises:
            ConfigError: boto3 does not accept ``extra_client_kwargs``.
        """
        import botocore
        from botocore.config import Config

        proxy = self.proxies.for_url(self.endpoint or "https://s3.amazonaws.com/")
        # Its own reading of the environment is another one. None at all means the direct way.
        proxies = dict.fromkeys(("http", "https"), proxy.url) if proxy else {}
        options: dict[str, Any] = {
            "connect_timeout": self.limits.connect_seconds,
            "read_timeout": self.limits.idle_seconds,
            "retries": {"total_max_attempts": attempts, "mode": "standard"},
            "max_pool_connections": 128,
            "response_checksum_validation": "when_supported" if self.verify_checksums else "when_required",
            "signature_version": "s3v4" if self.keys is not None else botocore.UNSIGNED,
        }
        if self.path_style:
            options["s3"] = {"addressing_style": "path"}
        elif self.endpoint is None and "addressing_style" not in self.s3_options:
            # The default, except that signed URLs would name an endpoint that newer regions lack.
            options["s3"] = {"addressing_style": "virtual"}
        session = self.make_session()
        if self.keys is not None:
            if self.keys.botocore is not None:
                session._credentials = self.keys.botocore  # type: ignore[attr-defined]
            else:
                keys = self.keys.current()
                session.set_credentials(keys.access_key, keys.secret_key, keys.token)
        try:
            config = Config(**options).merge(Config(**copy.deepcopy(dict(self.client_config))))
            client = session.create_client(
                "s3",
                region_name=region or self.region,
                endpoint_url=self.endpoint,
                verify=(self.tls.bundle or self.tls.directory) if self.tls.verify else False,
                config=config.merge(Config(proxies=proxies)),
                **self.arguments,
            )
        except Exception as error:  # whatever a value of the wrong kind leads to
            raise ConfigError(
                f"setting extra_client_kwargs: boto3 does not accept it: {error}",
                setting="extra_client_kwargs",
            ) from None
        if self.requester_pays:
            make_requester_pay(client)
        return cast("S3Client", client)

    def address(self, bucket: str, region: str) -> tuple[str, bool]:
        """The endpoint of a bucket, and whether the bucket is part of its host name."""
        style = "path" if self.path_style else self.s3_options.get("addressing_style")
        can_be_host = _DNS_NAME.fullmatch(bucket) is not None
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if style != "virtual" or not can_be_host or literal_address(parts.netloc) is not None:
                return self.endpoint, False
            return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl(), True
        if self.has_special_endpoint or not _ORDINARY_REGION.fullmatch(region):
            # A signed URL follows every rule there is about endpoints.
            url = self.client(region).generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": "k"}
            )
            parts = urlsplit(url)
            return f"{parts.scheme}://{parts.netloc}", parts.path == "/k"
        host = f"s3.{region}.amazonaws.com"
        if style == "path" or not can_be_host:
            return f"https://{host}", False
        return f"https://{bucket}.{host}", True


def _options(arguments: dict[str, Any], scheme: str) -> dict[str, Any]:
    """Takes what belongs into botocore's `Config` out of the arguments of a client, wherever it stands there.

    Raises:
        ConfigError: botocore does not know a word; or ``config`` is no object.
    """
    options = mapping(arguments, "config", scheme, remove=True)
    check_kinds(options, ["max_pool_connections"], int, scheme)
    check_kinds(arguments, ["max_pool_connections"], int, scheme)
    if set(arguments) <= _CLIENT_WORDS and set(options) <= _COMMON_OPTIONS:
        return options
    from botocore.config import Config

    of_config = frozenset(Config.OPTION_DEFAULTS)
    check_words(arguments, _CLIENT_WORDS | of_config, scheme)
    check_words(options, of_config, scheme)
    misplaced = (arguments.keys() & of_config) - _CLIENT_WORDS
    return {name: arguments.pop(name) for name in sorted(misplaced)} | options


def new_session(profile: str | None = None) -> Session:
    """A botocore session that is not shared with other code in this process."""
    import botocore.session

    return botocore.session.Session(profile=profile)
