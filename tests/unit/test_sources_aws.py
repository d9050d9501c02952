"""What is found out before the first request to S3: as boto3 itself finds it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import certifi
import pytest
from botocore.exceptions import BotoCoreError

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, ConfigError
from forebay.sources import aws
from forebay.sources.aws import aws_access
from forebay.sources.minio import minio_access
from forebay.sources.s3 import s3_source
from forebay.sources.s3_access import S3Access
from forebay.uri import parse

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


def found(**settings: Any) -> S3Access:
    return aws_access(MediaCacheConfig(**settings))


def keys(access: S3Access) -> tuple[str, str, str | None]:
    assert access.keys is not None
    lent = access.keys.current("eu-west-1")
    return lent.access_key, lent.secret_key, lent.token


@pytest.fixture
def aws_files(clean_environment: Path) -> Path:
    """The directory of the AWS config files."""
    directory = clean_environment / ".aws"
    directory.mkdir()
    return directory


class TestShortcut:
    """Plain variables are read without botocore; it must not make a difference."""

    @pytest.mark.parametrize(
        "variables",
        [
            KEYS,
            {**KEYS, "AWS_SESSION_TOKEN": "token"},
            {**KEYS, "AWS_DEFAULT_REGION": "eu-west-1"},
            {**KEYS, "AWS_REGION": "eu-west-2"},
            {**KEYS, "AWS_REGION": "eu-west-2", "AWS_DEFAULT_REGION": "eu-west-1"},
            {**KEYS, "AWS_ENDPOINT_URL": "http://one"},
            {**KEYS, "AWS_ENDPOINT_URL": "http://one", "AWS_ENDPOINT_URL_S3": "http://two"},
            {**KEYS, "AWS_CA_BUNDLE": certifi.where()},
            {**KEYS, "AWS_CONFIG_FILE": "/does/not/exist"},
            {**KEYS, "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull},
        ],
        ids=lambda variables: "+".join(sorted(set(variables) - set(KEYS))) or "keys",
    )
    def test_finds_what_botocore_finds(self, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

        short = found()
        monkeypatch.setattr(aws, "_from_environment", lambda environment, own_keys: None)
        long = found()

        for name in ("endpoint", "region", "tls", "has_special_endpoint"):
            assert getattr(short, name) == getattr(long, name), name
        assert keys(short) == keys(long)
        assert short.description == long.description
        assert short.client().meta.endpoint_url == long.client().meta.endpoint_url

    @pytest.mark.parametrize(
        "variables",
        [
            {},
            {"AWS_ACCESS_KEY_ID": "key"},
            {**KEYS, "AWS_PROFILE": "lab"},
            {**KEYS, "AWS_USE_FIPS_ENDPOINT": "true"},
            {**KEYS, "AWS_CREDENTIAL_EXPIRATION": "2030-01-01T00:00:00Z"},
            {**KEYS, "AWS_WHATEVER_COMES_NEXT": "1"},
        ],
        ids=str,
    )
    def test_is_not_taken_where_more_than_that_decides(self, variables: dict[str, str]):
        assert aws._from_environment(variables) is None

    @pytest.mark.parametrize("name", ["config", "credentials"])
    def test_is_not_taken_where_files_have_something(self, aws_files: Path, name: str):
        (aws_files / name).touch()
        assert aws._from_environment(KEYS) is not None

        (aws_files / name).write_text("[default]\n")
        assert aws._from_environment(KEYS) is None

    def test_is_not_taken_where_a_file_is_a_pipe(self, tmp_path: Path):
        os.mkfifo(tmp_path / "config")
        assert aws._from_environment({**KEYS, "AWS_CONFIG_FILE": str(tmp_path / "config")}) is None


class TestEndpoint:
    SERVICES = "\n[services local]\ns3 =\n  endpoint_url = http://services\n"
    LOCAL = "[default]\nservices = local\n" + SERVICES

    @pytest.mark.parametrize(
        ("file", "variables", "endpoint"),
        [
            ("", {}, None),
            ("[default]\nendpoint_url = http://file\n", {}, "http://file"),
            (LOCAL, {}, "http://services"),
            ("[default]\nservices = local\nendpoint_url = http://file" + SERVICES, {}, "http://services"),
            (LOCAL, {"AWS_ENDPOINT_URL": "http://all"}, "http://all"),
            (LOCAL, {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}, "http://s3"),
            (LOCAL, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, None),
        ],
    )
    def test_is_boto3s(
        self,
        aws_files: Path,
        monkeypatch: pytest.MonkeyPatch,
        file: str,
        variables: dict[str, str],
        endpoint: str | None,
    ):
        (aws_files / "config").write_text(file)
        for name, value in {**KEYS, **variables, "AWS_DEFAULT_REGION": "eu-west-1"}.items():
            monkeypatch.setenv(name, value)

        access = found()

        assert access.endpoint == endpoint
        assert access.client().meta.endpoint_url == boto3.session.Session().client("s3").meta.endpoint_url

    @pytest.mark.parametrize(
        "region", ["us-east-2", "eu-central-1", "us-gov-west-1", "cn-north-1", "ap-southeast-7"]
    )
    @pytest.mark.parametrize(
        "file",
        [
            "",
            "[default]\ns3 =\n  addressing_style = path\n",
            "[default]\ns3 =\n  addressing_style = virtual\n",
            "[default]\nuse_dualstack_endpoint = true\n",
            "[default]\nuse_fips_endpoint = true\n",
            "[default]\ns3 =\n  use_accelerate_endpoint = true\n",
            "[default]\nendpoint_url = https://minio.example.com\n",
            "[default]\nendpoint_url = https://minio.example.com\ns3 =\n  addressing_style = virtual\n",
        ],
        ids=lambda file: file.replace("[default]", "").replace("\n", " ").strip() or "default",
    )
    def test_of_a_bucket_is_where_boto3_would_go(
        self, aws_files: Path, monkeypatch: pytest.MonkeyPatch, region: str, file: str
    ):
        (aws_files / "config").write_text(file)
        for name, value in {**KEYS, "AWS_DEFAULT_REGION": region}.items():
            monkeypatch.setenv(name, value)
        access = found()
        client = access.client()

        for bucket in ("bucket", "a.dotted.bucket", "Capital", "under_score"):
            try:
                url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
            except BotoCoreError as error:  # some of these go together for nobody
                with pytest.raises(type(error)):
                    access.address(bucket, region)
                continue

            endpoint, in_host = access.address(bucket, region)

            where = f"{endpoint}/k" if in_host else f"{endpoint}/{bucket}/k"
            assert where == urlsplit(url)._replace(query="").geturl()


class TestProfiles:
    def test_of_the_settings_beat_those_of_the_environment(
        self, aws_files: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (aws_files / "credentials").write_text(
            "[one]\naws_access_key_id = 1\naws_secret_access_key = s\n"
            "[two]\naws_access_key_id = 2\naws_secret_access_key = s\n"
        )
        monkeypatch.setenv("AWS_PROFILE", "one")

        assert keys(found())[0] == "1"
        assert keys(found(aws_profile="two"))[0] == "2"
        assert "profile 'two' (shared-credentials-file)" in found(aws_profile="two").description

    def test_beat_keys_in_the_environment_when_they_are_a_setting(
        self, aws_files: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (aws_files / "credentials").write_text("[two]\naws_access_key_id = 2\naws_secret_access_key = s\n")
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)

        assert keys(found(aws_profile="two"))[0] == "2"

    def test_that_do_not_exist_are_named(self, aws_files: Path, monkeypatch: pytest.MonkeyPatch):
        (aws_files / "config").write_text("[profile lab]\nregion = eu-west-1\n")

        with pytest.raises(ConfigError, match=r"setting aws_profile: .*\(nobody\).*; there are: lab"):
            found(aws_profile="nobody")
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(ConfigError, match="environment variable AWS_PROFILE"):
            found()

    def test_files_that_do_not_exist_are_named(self):
        with pytest.raises(ConfigError, match="setting aws_config_file='/no/file': there is no such file"):
            found(aws_config_file="/no/file")

    def test_half_a_pair_of_keys_is_a_configuration_error(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")

        with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY"):
            found()


SECRET = "topsecretvalue"
PRINTED = {
    "fails": f"echo {SECRET} >&2; exit 3",
    "no JSON": f"echo {SECRET}",
    "nothing": "true",
    "a list": "echo '[1]'",
    "no key": f'echo \'{{"Version": 1, "SecretAccessKey": "{SECRET}"}}\'',
    "no UTF-8": "printf '\\377\\376'",
    "an end that is no time": (
        f'echo \'{{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "{SECRET}", "Expiration": "soon"}}\''
    ),
    "an end that is a number": (
        f'echo \'{{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "{SECRET}", "Expiration": 7}}\''
    ),
    "keys that are numbers": 'echo \'{"Version": 1, "AccessKeyId": 5, "SecretAccessKey": 7}\'',
}
BROKEN = {
    "a service that is a value": "services = x\n[services x]\ns3 = foo\n",
    "a time-out that is no number": "metadata_service_timeout = x\n",
    "attempts that are no number": "metadata_service_num_attempts = x\n",
    "a program that is not there": "credential_process = /no/such\n",
    "a program that is none": "credential_process = /etc/passwd\n",
    "no program": "credential_process =\n",
    "an open quotation": 'credential_process = "open\n',
    "a role that is none": "role_arn = x\nsource_profile = other\n",
}


class TestBrokenConfigurations:
    """What botocore raises of them, or lets through, is never seen as it is."""

    @pytest.mark.parametrize("name", BROKEN)
    def test_are_configuration_errors_that_name_the_profile(self, aws_files: Path, name: str):
        (aws_files / "config").write_text(f"[default]\n{BROKEN[name]}")

        with pytest.raises(ConfigError, match="the AWS configuration cannot be used") as caught:
            found()
        assert "\n" not in str(caught.value)
        assert re.search(r"profile 'default'|\[services x\]", str(caught.value))

    @pytest.mark.parametrize("name", PRINTED)
    def test_of_a_program_show_nothing_of_what_it_printed(self, aws_files: Path, tmp_path: Path, name: str):
        program = tmp_path / "program"
        program.write_text(f"#!/bin/sh\n{PRINTED[name]}\n")
        program.chmod(0o755)
        (aws_files / "config").write_text(f"[default]\ncredential_process = {program}\n")

        uri = parse("s3://photos/x.jpg")
        with pytest.raises((ConfigError, AccessDeniedError)) as caught:
            s3_source(MediaCacheConfig()).request(uri)
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("variable", "value"), [("AWS_METADATA_SERVICE_TIMEOUT", "x"), ("AWS_CREDENTIAL_EXPIRATION", "soon")]
    )
    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch, variable: str, value: str):
        monkeypatch.setenv(variable, value)
        if variable == "AWS_CREDENTIAL_EXPIRATION":
            for name, key in KEYS.items():
                monkeypatch.setenv(name, key)

        with pytest.raises(ConfigError, match="the AWS configuration cannot be used"):
            found()

    def test_of_a_bundle_name_the_file_of_the_configuration(self, aws_files: Path):
        (aws_files / "config").write_text("[default]\nca_bundle = /no/such.pem\n")

        with pytest.raises(
            ConfigError, match="the AWS configuration's ca_bundle: there is no file '/no/such"
        ):
            found()

    def test_whoever_has_an_mfa_device_is_not_asked_for_its_code(
        self, aws_files: Path, capfd: pytest.CaptureFixture[str]
    ):
        (aws_files / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/x\nsource_profile = other\n"
            "mfa_serial = arn:aws:iam::123456789012:mfa/x\n"
            "[profile other]\naws_access_key_id = key\naws_secret_access_key = secret\n"
        )

        with pytest.raises(AccessDeniedError, match="Forebay asks for no code"):
            s3_source(MediaCacheConfig()).request(parse("s3://photos/x.jpg"))
        assert "MFA" not in capfd.readouterr().out


class TestSettings:
    def test_keys_of_the_settings_beat_all_others(self, monkeypatch: pytest.MonkeyPatch):
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        extra = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "aws_session_token": "c"}

        access = found(extra_client_kwargs={"s3": extra})

        assert keys(access) == ("a", "b", "c")
        url = access.client().generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
        assert "X-Amz-Credential=a%2F" in url
        assert "X-Amz-Security-Token=c" in url

    def test_anonymous_signs_nothing(self, monkeypatch: pytest.MonkeyPatch):
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)

        access = found(extra_client_kwargs={"s3": {"anonymous": True}})

        assert access.keys is None
        assert "X-Amz-Signature" not in access.client().generate_presigned_url(
            "get_object", Params={"Bucket": "bucket", "Key": "k"}
        )

    def test_the_transport_and_boto3_share_them(self):
        options = {"proxies": {"http": "http://proxy:3128"}, "read_timeout": 7, "user_agent_extra": "lab"}

        access = found(extra_client_kwargs={"s3": {"endpoint_url": "http://host:9000/", "config": options}})

        assert access.endpoint == "http://host:9000"
        assert access.limits.idle_seconds == access.client().meta.config.read_timeout == 7
        proxy = access.proxies.for_url("http://host:9000/b/k")
        assert proxy is not None
        assert access.client().meta.config.proxies == {"http": proxy.url, "https": proxy.url}
        assert access.agent == "lab"

    def test_words_of_the_configuration_may_stand_beside_those_of_the_client(self):
        access = found(extra_client_kwargs={"s3": {"max_pool_connections": 50, "connect_timeout": 3}})
        assert access.client_config == {"max_pool_connections": 50, "connect_timeout": 3}
        assert access.limits.connect_seconds == 3
        assert access.client().meta.config.max_pool_connections == 50

    @pytest.mark.parametrize(
        "arguments",
        [
            {"config": {"retries": {"mode": "wild"}}},
            {"config": {"retries": 5}},
            {"api_version": "1999-12-31"},
        ],
    )
    def test_values_that_boto3_refuses_are_a_configuration_error(self, arguments: dict[str, object]):
        with pytest.raises(ConfigError, match="setting extra_client_kwargs: boto3 does not accept it"):
            found(extra_client_kwargs={"s3": arguments})

    def test_words_of_both_are_those_of_the_client(self):
        arguments = {"region_name": "eu-west-3", "connect_timeout": 3, "config": {"read_timeout": 4}}
        access = found(extra_client_kwargs={"s3": arguments})
        assert (access.region, access.client().meta.region_name) == ("eu-west-3", "eu-west-3")
        assert (access.limits.connect_seconds, access.limits.idle_seconds) == (3, 4)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"max_pool_conections": 5}, "no 'max_pool_conections'; did you mean 'max_pool_connections'?"),
            ({"config": {"regionname": 5}}, "'s3' has no 'regionname'; did you mean 'region_name'"),
            ({"config": 5}, "'s3' has a 'config' that is no object of arguments"),
        ],
    )
    def test_words_that_boto3_does_not_know_are_named_with_those_that_are_near(
        self, arguments: dict[str, object], message: str
    ):
        with pytest.raises(ConfigError) as raised:
            found(extra_client_kwargs={"s3": arguments})
        assert message in str(raised.value)

    def test_signatures_of_other_versions_are_refused(self):
        with pytest.raises(ConfigError, match="signature_version 's3v4', and no other"):
            found(extra_client_kwargs={"s3": {"config": {"signature_version": "s3"}}})


class TestMinIO:
    FILE = """
        [default]
        access_key = key
        secret_access_key = 100%secret
        endpoint_url = http://minio:9000
        region = eu-west-1
        alias = ours
        [second]
        endpoint_url = http://second:9000
    """

    @pytest.fixture
    def file(self, tmp_path: Path) -> str:
        path = tmp_path / "minio.ini"
        path.write_text("\n".join(line.strip() for line in self.FILE.splitlines()))
        return str(path)

    def test_is_configured_by_a_file(self, file: str):
        access = minio_access(MediaCacheConfig(minio_config_file=file))

        assert (access.endpoint, access.region) == ("http://minio:9000", "eu-west-1")
        assert keys(access) == ("key", "100%secret", None)
        assert access.address("bucket", access.region) == ("http://minio:9000", False)

    def test_is_configured_by_a_section_of_a_file(self, file: str):
        access = minio_access(MediaCacheConfig(minio_config_file=file, minio_profile="second"))

        assert access.endpoint == "http://second:9000"
        assert access.keys is None

    def test_is_configured_by_variables(self, file: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_CONFIG_FILE", file)
        monkeypatch.setenv("MINIO_ACCESS_KEY", "other")

        assert keys(minio_access(MediaCacheConfig())) == ("other", "100%secret", None)
        monkeypatch.setenv("MINIO_PROFILE", "second")
        assert minio_access(MediaCacheConfig()).endpoint == "http://second:9000"
        monkeypatch.setenv("MINIO_ENDPOINT_URL", "http://third:9000")
        assert minio_access(MediaCacheConfig()).endpoint == "http://third:9000"
        settings = MediaCacheConfig(minio_config_file=file, minio_profile="default")
        assert minio_access(settings).endpoint == "http://minio:9000", "the settings beat the variables"

    @pytest.mark.parametrize(
        ("written", "meant"),
        [("a%%b", "a%b"), ("a%b", "a%b"), ("%(access_key)s-2", "key-2"), ("100%", "100%"), ("%%%%", "%%")],
    )
    def test_interpolates_values_as_configparser_does(self, file: str, written: str, meant: str):
        path = Path(file)
        path.write_text(path.read_text().replace("100%secret", written))

        assert keys(minio_access(MediaCacheConfig(minio_config_file=file))) == ("key", meant, None)

    def test_says_which_section_a_variable_names(self, file: str, monkeypatch: pytest.MonkeyPatch):
        path = Path(file).rename(Path(file).with_name("home.ini"))
        path.write_text(path.read_text().replace("[default]", "[lab]"))
        monkeypatch.setenv("HOME", str(path.parent))
        monkeypatch.setenv("MINIO_CONFIG_FILE", "~/home.ini")
        monkeypatch.setenv("MINIO_PROFILE", "lab")

        assert minio_access(MediaCacheConfig()).description == (
            "the MinIO credentials in section [lab] of home.ini"
        )

    @pytest.mark.parametrize(
        "body", [b"access_key = s3cr3t", b"[default]\n\xff\xfe", b"[default]\n[default]\n"]
    )
    def test_refuses_a_file_that_is_none(self, file: str, body: bytes):
        Path(file).write_bytes(body)

        with pytest.raises(ConfigError, match="is no INI file that can be read") as caught:
            minio_access(MediaCacheConfig(minio_config_file=file))
        assert "s3cr3t" not in str(caught.value)

    def test_names_a_value_that_refers_to_none(self, file: str):
        path = Path(file)
        path.write_text(path.read_text().replace("100%secret", "s3cr3t%(nothing)s"))

        with pytest.raises(ConfigError, match=r"secret_access_key in section \[default\] of minio") as caught:
            minio_access(MediaCacheConfig(minio_config_file=file))
        assert "s3cr3t" not in str(caught.value)

    def test_takes_extra_arguments(self, file: str):
        extra = {"minio": {"verify": False, "endpoint_url": "https://fourth"}}

        access = minio_access(MediaCacheConfig(minio_config_file=file, extra_client_kwargs=extra))

        assert (access.endpoint, access.tls.verify) == ("https://fourth", False)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({}, "minio:// needs the URL of a server"),
            (
                {"minio_config_file": "/no/file"},
                "setting minio_config_file='/no/file': there is no such file",
            ),
            ({"minio_profile": "third"}, r"has no section \[third\]; there are: default, second"),
        ],
    )
    def test_that_is_not_configured_says_what_is_missing(
        self, file: str, settings: dict[str, str], message: str
    ):
        if "minio_profile" in settings:
            settings = {**settings, "minio_config_file": file}

        with pytest.raises(ConfigError, match=message):
            minio_access(MediaCacheConfig(**settings))

    def test_an_endpoint_needs_a_scheme(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("MINIO_ENDPOINT_URL", "minio:9000")

        with pytest.raises(ConfigError, match="must begin with http:// or https://"):
            minio_access(MediaCacheConfig())
