"""The endpoint, region and credentials for ``s3://``, as boto3 would find them.

botocore itself resolves profiles, SSO, roles, container and instance credentials, so whatever works
for the AWS tools works here. The settings ``aws_profile`` and ``aws_config_file`` take precedence over
``AWS_PROFILE`` and ``AWS_CONFIG_FILE``; the file may be a config or a credentials file. Where no
credentials are found at all, requests are not signed, which is what public buckets want.

Importing botocore takes 100 ms, as long as fetching hundreds of objects. Where there is nothing but
plain variables in the environment, `_from_environment` reads them without it; a test holds it to
giving the same answers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from forebay.config import MediaCacheConfig
from forebay.config.ini_file import existing_file
from forebay.errors import ConfigError, ForebayError
from forebay.sources.boto import told
from forebay.sources.routes import checked_endpoint, one_line
from forebay.sources.s3_access import S3Access, new_session
from forebay.sources.signing_keys import SigningKeys

if TYPE_CHECKING:
    from botocore.session import Session

# botocore is imported in the functions that need it: see above.
_DEFAULT_REGION = "us-east-1"
_IN_ENVIRONMENT = "the AWS credentials in the environment"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_OWN_KEYS = frozenset({"access_key_variable", "anonymous"})
_SIMPLE = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_CA_BUNDLE",
        "AWS_EC2_METADATA_DISABLED",
    }
)


def aws_access(config: MediaCacheConfig) -> S3Access:
    """The endpoint, region and credentials for ``s3://`` URIs.

    Raises:
        ConfigError: the file or profile does not exist, or the AWS configuration is broken.
    """
    found = None
    if config.aws_profile is None and config.aws_config_file is None:
        found = _from_environment(os.environ, bool(config.rule_words & _OWN_KEYS))
    return (found or _from_session(config)).with_settings(config)


def _from_environment(environment: Mapping[str, str], own_keys: bool = False) -> S3Access | None:
    """The access that boto3 would find; ``None`` where more than the simplest variables decide it.

    Args:
        own_keys: keys are found elsewhere, and not searched for.
    """
    present = {name for name in environment if name.startswith("AWS_")}
    files = ("AWS_CONFIG_FILE", "~/.aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    access_key, secret_key, token = (_variable(environment, name) for name in _KEYS)
    if (
        not (own_keys or (access_key and secret_key))
        or present - _SIMPLE - {variable for variable, _ in files}
        or any(_may_say_something(os.path.expanduser(environment.get(*file))) for file in files)
    ):
        return None
    return S3Access(
        make_session=new_session,
        endpoint=_variable_endpoint(environment),
        region=_region(environment, None),
        keys=SigningKeys.fixed(access_key, secret_key, token, _IN_ENVIRONMENT)
        if access_key and secret_key and not own_keys
        else None,
    )


def _may_say_something(path: str) -> bool:
    """Whether a configuration file is there and not empty, as ``/dev/null`` is for those who want none."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    is_empty = stat.S_ISREG(status.st_mode) and status.st_size == 0
    return not is_empty and path != os.devnull


def _variable(environment: Mapping[str, str], name: str) -> str | None:
    return one_line(environment.get(name), f"environment variable {name}")


def _variable_endpoint(environment: Mapping[str, str]) -> str | None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if endpoint := checked_endpoint(environment.get(name), f"environment variable {name}"):
            return endpoint
    return None


def _region(environment: Mapping[str, str], configured: str | None) -> str:
    return (
        _variable(environment, "AWS_DEFAULT_REGION")
        or one_line(configured, "the AWS configuration's region")
        or _variable(environment, "AWS_REGION")
        or _DEFAULT_REGION
    )


def _from_session(config: MediaCacheConfig) -> S3Access:
    from botocore.exceptions import ProfileNotFound

    def make() -> Session:
        session = new_session(config.aws_profile)
        if config.aws_config_file is not None:
            path = existing_file("setting", "aws_config_file", config.aws_config_file)
            # botocore tells the two kinds of file apart by the spelling of their sections.
            session.set_config_variable("config_file", path)
            session.set_config_variable("credentials_file", path)
        return session

    session = make()
    try:
        return _found(session, make, config.rule_words)
    except ProfileNotFound as error:
        origin, name = "setting", "aws_profile"
        if not config.aws_profile:
            origin, name = "environment variable", "AWS_PROFILE"
        known = ", ".join(session.available_profiles) or "none"
        raise ConfigError(f"{origin} {name}: {error}; there are: {known}", setting=name) from None
    except ForebayError:
        raise
    except Exception as error:
        where = f"profile {session.profile or 'default'!r}"
        raise ConfigError(f"the AWS configuration cannot be used ({where}): {told(error)}") from None


def _found(session: Session, make: Callable[[], Session], rule_words: frozenset[str]) -> S3Access:
    scoped = session.get_scoped_config()
    options = session.get_config_variable("s3") or {}
    profile = session.profile
    # Where they are not wanted, no server of a cloud is asked for them.
    credentials = None if rule_words & _OWN_KEYS else _credentials(session)
    # A profile that is named for a prefix says more of its buckets than the environment does.
    profile_first = bool(rule_words & {"profile", "credentials_file"})
    region = scoped.get("region") if profile_first else None
    keys = None
    if credentials is not None:
        description = (
            _IN_ENVIRONMENT
            if credentials.method == "env"
            else f"the AWS credentials of profile {profile or 'default'!r} ({credentials.method})"
        )
        keys = SigningKeys(lambda: _credentials(make()), description, credentials)
    return S3Access(
        make_session=make,
        endpoint=_configured_endpoint(session, scoped, profile_first),
        region=one_line(region, "the AWS configuration's region")
        or _region(os.environ, session.get_config_variable("region")),
        keys=keys,
        bundle=session.get_config_variable("ca_bundle"),
        s3_options=options,
        has_special_endpoint=_has_special_endpoint(session, options),
    )


def _credentials(session: Session) -> Any:
    # It would ask for the code of an MFA device on the terminal, in the middle of a job.
    roles = session.get_component("credential_provider").get_provider("assume-role")
    roles._prompter = _refuse_code
    return session.get_credentials()


def _refuse_code(_: str) -> str:
    raise ConfigError(
        "its profile has an mfa_serial, and Forebay asks for no code; get credentials of the role with the "
        "AWS command line, and name their profile"
    )


def _configured_endpoint(session: Session, scoped: Mapping[str, Any], profile_first: bool) -> str | None:
    """A custom endpoint, looked for in the order that AWS documents for its SDKs, or in the profile first."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    services = session.full_config.get("services", {}).get(scoped.get("services"), {})
    of_s3 = services.get("s3", {})
    if not isinstance(of_s3, dict):
        raise ConfigError(
            f"the AWS configuration cannot be used: s3 of the section [services {scoped['services']}] must "
            "have settings of its own, each in an indented line, such as endpoint_url"
        )
    configured = of_s3.get("endpoint_url") or scoped.get("endpoint_url")
    named = _variable_endpoint(os.environ)
    found = checked_endpoint(configured, "the AWS configuration's endpoint_url")
    return (found or named) if profile_first else (named or found)


def _has_special_endpoint(session: Session, options: Mapping[str, Any]) -> bool:
    switches = [options.get("use_accelerate_endpoint"), options.get("use_dualstack_endpoint")]
    switches += [session.get_config_variable(f"use_{kind}_endpoint") for kind in ("dualstack", "fips")]
    return any(str(switch).lower() == "true" for switch in switches)
