"""What is particular to S3: credentials, regions, signatures, and keys that are no tidy paths."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, ConfigError, SourceError, TransientSourceError
from forebay.sources.base import Source
from forebay.sources.s3 import minio_source, s3_source
from forebay.uri import MediaURI, parse
from tests.integration.sites import bytes_of, config
from tests.servers import Fault, Proxy
from tests.servers.certificates import self_signed
from tests.servers.exact_s3 import ExactS3Server, exact_s3
from tests.servers.process import free_ports
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")


def s3(**options: Any) -> Source:
    """The source under test; ``options`` are ``extra_client_kwargs["s3"]``."""
    return s3_source(config(extra_client_kwargs={"s3": options}))


class TestCredentials:
    def test_wrong_ones_are_refused_and_named_without_their_secrets(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")

        with pytest.raises(AccessDeniedError) as caught:
            s3().open(uri)

        assert str(caught.value) == (
            f"s3://{s3_bucket}/x: access denied (403 Forbidden: SignatureDoesNotMatch)"
            " with the AWS credentials in the environment; the secret key does not belong to the access key"
        )

    def test_those_of_somebody_without_rights_are_refused(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.stranger[0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.stranger[1])
        source = s3()

        with pytest.raises(AccessDeniedError, match="check that they may read it"):
            source.open(uri)
        with pytest.raises(AccessDeniedError, match="check that they may list it"):
            list(source.list(uri))
        # An answer to HEAD has no body, so wrong keys look the same.
        with pytest.raises(AccessDeniedError, match="check that they are the right ones, and what they may"):
            source.head(uri)

    def test_none_are_needed_for_a_public_bucket(self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch):
        bucket = s3_server.create_bucket(public=True)
        uri = parse(s3_server.put(bucket, "a/x.jpg", b"hello"))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        source = s3()

        assert bytes_of(source, uri) == b"hello"
        assert source.head(uri).size == 5
        assert bytes(source.read_range(uri, 1, 3)) == b"el"
        assert [info.uri for info in source.list(parse(f"s3://{bucket}/a"))] == [uri.raw]
        assert requests.get(source.sign(uri), timeout=10).content == b"hello"

    def test_none_are_not_enough_for_a_private_bucket(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        with pytest.raises(AccessDeniedError, match=r"with no credentials \(none were found"):
            s3().open(uri)

    def test_wrong_ones_are_refused_even_where_none_would_do(
        self, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
    ):
        bucket = s3_server.create_bucket(public=True)
        uri = parse(s3_server.put(bucket, "x", b"hello"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NOBODY")

        with pytest.raises(AccessDeniedError, match="InvalidAccessKeyId"):
            s3().open(uri)
        assert bytes_of(s3(anonymous=True), uri) == b"hello", "unless they are not to be used"

    def test_come_from_a_profile_of_a_credentials_or_config_file(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        # The settings beat the environment, also where it has credentials.
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NOBODY")
        for section in ("lab", "profile lab"):
            path = tmp_path / section.replace(" ", "-")
            path.write_text(
                f"[{section}]\naws_access_key_id = {s3_server.access_key}\n"
                f"aws_secret_access_key = {s3_server.secret_key}\nregion = us-east-1\n"
            )
            settings = config(aws_config_file=str(path), aws_profile="lab")

            assert bytes_of(s3_source(settings), uri) == b"hello"

    def test_are_renewed_before_they_expire(
        self, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        # Given a command that hands out credentials for so long, and writes down that it was asked
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        asked, expiry = tmp_path / "asked", tmp_path / "expiry"
        command = tmp_path / "command.py"
        command.write_text(
            "import json\n"
            f"open({str(asked)!r}, 'a').write('.')\n"
            f"print(json.dumps({{'Version': 1, 'AccessKeyId': {s3_server.access_key!r}, 'SecretAccessKey':"
            f" {s3_server.secret_key!r}, 'Expiration': open({str(expiry)!r}).read()}}))\n"
        )
        profile = tmp_path / "config"
        profile.write_text(f"[default]\ncredential_process = {sys.executable} {command}\n")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        def reads(last_for: timedelta) -> int:
            expiry.write_text((datetime.now(timezone.utc) + last_for).isoformat())
            asked.write_text("")
            source = s3_source(config(aws_config_file=str(profile)))
            until = time.monotonic() + 1
            while time.monotonic() < until:
                assert bytes_of(source, uri) == b"hello"
            return len(asked.read_text())

        # Then those that last are asked for once, and those that are about to expire again and again
        assert reads(timedelta(hours=1)) == 1
        assert reads(timedelta(minutes=4)) > 1

    def test_that_cannot_be_had_are_an_access_error(
        self, s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        expiry = (datetime.now(timezone.utc) + timedelta(minutes=1)).isoformat()
        answer = json.dumps(
            {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "very-secret", "Expiration": expiry}
        )
        once = tmp_path / "once"
        once.write_text(
            f"#!/bin/sh\n[ -e {tmp_path}/done ] && exit 1\ntouch {tmp_path}/done\necho '{answer}'\n"
        )
        once.chmod(0o755)
        profile = tmp_path / "config"
        profile.write_text(f"[default]\ncredential_process = {once}\n")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

        with pytest.raises(AccessDeniedError, match=r"profile 'default'.*cannot be used") as caught:
            s3_source(config(aws_config_file=str(profile))).open(parse(f"s3://{s3_bucket}/x"))
        assert "very-secret" not in str(caught.value)


class TestSettings:
    def test_extra_arguments_reach_the_transport_and_boto3(
        self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
        options = {
            "endpoint_url": s3_proxy.endpoint,
            "region_name": "eu-north-1",
            "aws_access_key_id": s3_server.access_key,
            "aws_secret_access_key": s3_server.secret_key,
        }

        source = s3(**options)
        assert bytes_of(source, uri) == b"hello"
        assert [info.size for info in source.list(uri)] == [5]
        assert s3_bucket in source.containers()
        agents = {request.headers["user-agent"].partition("/")[0] for request in s3_proxy.requests}
        assert agents == {"forebay", "Botocore"}
        assert all("/eu-north-1/s3/" in request.headers["authorization"] for request in s3_proxy.requests)

    def test_the_user_agent_may_be_set(self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))

        source = s3(endpoint_url=s3_proxy.endpoint, config={"user_agent_extra": "our-lab"})

        assert bytes_of(source, uri) == b"hello"
        assert "our-lab" in s3_proxy.requests[0].headers["user-agent"]

    def test_an_argument_that_nobody_knows_is_a_configuration_error(self, s3_bucket: str):
        with pytest.raises(
            ConfigError, match="setting extra_client_kwargs: 's3' has no 'nonsense'; known are"
        ):
            s3(nonsense=True).open(parse(f"s3://{s3_bucket}/x"))

    def test_minio_leaves_the_aws_credentials_alone(
        self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ):
        s3_server.put(s3_bucket, "x", b"hello")
        monkeypatch.setenv("MINIO_ENDPOINT_URL", s3_proxy.endpoint)

        with pytest.raises(AccessDeniedError, match="with no credentials"):
            minio_source(config()).open(parse(f"minio://{s3_bucket}/x"))
        assert "authorization" not in s3_proxy.requests[0].headers


class TestRegions:
    """Amazon answers for a bucket of another region with a redirect that only says so."""

    def move(self, proxy: Proxy, bucket: str, path: str) -> None:
        """Has the next request for a path redirected, as its bucket is in the region ``ap-south-1``."""
        proxy.fault(path, Fault.s3(301, "PermanentRedirect"), times=1)
        region = {"x-amz-bucket-region": "ap-south-1"}
        proxy.fault(f"/{bucket}", Fault(status=301, headers=region), method="HEAD")

    def check_is_remembered(self, proxy: Proxy, source: Source, uri: MediaURI) -> None:
        assert "/ap-south-1/s3/" in proxy.requests[-1].headers["authorization"]
        proxy.reset()
        assert bytes_of(source, uri) == b"hello"
        assert proxy.count() == 1

    def test_a_bucket_elsewhere_is_found_there(self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        self.move(s3_proxy, s3_bucket, f"/{s3_bucket}/x")
        source = s3(endpoint_url=s3_proxy.endpoint)

        assert bytes_of(source, uri) == b"hello"
        self.check_is_remembered(s3_proxy, source, uri)

    def test_the_region_may_be_named_in_the_answer(
        self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy
    ):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>"
        s3_proxy.fault(f"/{s3_bucket}/x", Fault(status=400, body=body), times=1)

        assert bytes_of(s3(endpoint_url=s3_proxy.endpoint), uri) == b"hello"
        assert "/eu-west-3/s3/" in s3_proxy.requests[-1].headers["authorization"]

    def test_a_bucket_elsewhere_is_listed_there(self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        self.move(s3_proxy, s3_bucket, f"/{s3_bucket}")
        source = s3(endpoint_url=s3_proxy.endpoint)

        assert [info.uri for info in source.list(parse(f"s3://{s3_bucket}/"))] == [uri.raw]
        self.check_is_remembered(s3_proxy, source, uri)

    def test_a_listing_goes_on_where_the_answer_names_the_region(
        self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy
    ):
        uri = parse(s3_server.put(s3_bucket, "a b+c/x", b"hello"))
        body = b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>"
        s3_proxy.fault(f"/{s3_bucket}", Fault(status=400, body=body), times=1)

        listed = s3(endpoint_url=s3_proxy.endpoint).list(parse(f"s3://{s3_bucket}/a b+c/"))
        assert [info.uri for info in listed] == [uri.raw]
        assert "/eu-west-3/s3/" in s3_proxy.requests[-1].headers["authorization"]

    def test_a_redirect_to_nowhere_is_an_error(self, s3_bucket: str, s3_proxy: Proxy):
        s3_proxy.fault(None, Fault.s3(301, "PermanentRedirect"), method=None)

        with pytest.raises(SourceError, match="in another region than the one configured"):
            s3(endpoint_url=s3_proxy.endpoint).open(parse(f"s3://{s3_bucket}/x"))


class TestSignedURLs:
    def test_expire(self, s3_server: S3Server, s3_bucket: str):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        url = s3().sign(uri, expires_seconds=1)
        until = time.monotonic() + 20

        # Until it expires the URL works; that it stops is what is waited for.
        while (answer := requests.get(url, timeout=10)).status_code == 200 and time.monotonic() < until:
            time.sleep(0.1)

        assert answer.status_code == 403

    def test_are_good_for_one_object_and_for_reading_only(self, s3_server: S3Server, s3_bucket: str):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        s3_server.put(s3_bucket, "y", b"hello")
        url = s3().sign(uri)

        assert requests.get(url.replace("/x?", "/y?"), timeout=10).status_code == 403
        assert requests.put(url, b"altered", timeout=10).status_code == 403

    @pytest.mark.parametrize("seconds", [0, -1, 604_801])
    def test_last_from_a_second_to_a_week(self, s3_bucket: str, seconds: int):
        with pytest.raises(SourceError, match="from 1 s to 7 days"):
            s3().sign(parse(f"s3://{s3_bucket}/x"), expires_seconds=seconds)


# Amazon keeps each of these keys as it is.
UNTIDY_KEYS = [
    "a/../b",
    "../b",
    "..",
    "a/..",
    "./b",
    "a/./b",
    ".",
    "a//b",
    "//b",
    "/b",
    "b/",
    "b//",
    "a/ /b",
    "new\nline",
    "tab\tulator",
    "null\0byte",
    "delete\x7f",
    "back\\slash",
    "%2e%2e/b",
    "%2F",
    "a" * 1024,
]


@pytest.fixture
def exact_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    with exact_s3() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        yield server


class TestUntidyKeys:
    @pytest.mark.parametrize("key", UNTIDY_KEYS, ids=lambda key: repr(key[:20]))
    def test_are_asked_for_exactly(self, exact_server: ExactS3Server, key: str):
        # Given a server that keeps keys exactly, with other objects where sloppy clients would look
        exact_server.objects = dict.fromkeys(["b", "a", "a/b", "new", "null", "b/b"], b"wrong")
        exact_server.objects[key] = b"right"
        source, uri = s3(), parse(f"s3://bucket/{key}")

        assert bytes_of(source, uri) == b"right"
        assert bytes(source.read_range(uri, 0, 5)) == b"right"
        assert source.head(uri).size == 5
        assert requests.Session().send(_prepared(source.sign(uri)), timeout=10).content == b"right"

    def test_are_listed_exactly(self, exact_server: ExactS3Server):
        exact_server.objects = {key: key.encode() for key in UNTIDY_KEYS}

        listed = [info.uri.removeprefix("s3://bucket/") for info in s3().list(parse("s3://bucket/"))]

        assert listed == sorted(UNTIDY_KEYS, key=str.encode)

    def test_that_the_server_does_not_take_are_refused_by_it(self, s3_bucket: str):
        # SeaweedFS keeps objects in a file system, and says so; nobody resolves the dots on the way.
        with pytest.raises(SourceError, match="400 Bad Request: InvalidRequest"):
            s3().open(parse(f"s3://{s3_bucket}/a/../b"))


def _prepared(url: str) -> requests.PreparedRequest:
    """A request for exactly ``url``, in which requests would resolve the dots."""
    prepared = requests.Request("GET", url).prepare()
    prepared.url = url
    return prepared


class TestTLS:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> str:
        """A key and a certificate for 127.0.0.1 that nobody vouches for."""
        return self_signed(tmp_path / "certificate.pem")

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
    def test_certificates_are_checked_as_boto3_is_told_to(
        self, certificate: str, monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse("s3://bucket/x")
        with exact_s3(certificate=certificate) as server:
            server.objects["x"] = b"hello"
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)

            with pytest.raises(SourceError, match="the server's TLS certificate is not trusted") as caught:
                s3().open(uri)
            assert not caught.value.transient
            assert bytes_of(s3(verify=False), uri) == b"hello"
            assert bytes_of(s3(verify=certificate), uri) == b"hello"
            monkeypatch.setenv("AWS_CA_BUNDLE", certificate)
            assert bytes_of(s3(), uri) == b"hello"


def test_a_server_that_does_not_take_connections_is_given_up_after_the_connect_time_out():
    # Given a listener whose queue is full, so that the kernel answers no further connection
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        options = {"s3": {"endpoint_url": f"http://127.0.0.1:{listener.getsockname()[1]}"}}
        source = s3_source(config(connect_timeout_seconds=0.5, extra_client_kwargs=options))

        began = time.monotonic()
        with pytest.raises(
            TransientSourceError, match=r"timed out: cannot connect to http://127\.0\.0\.1:\d+"
        ):
            source.open(parse("s3://bucket/x"))
        assert time.monotonic() - began < 5


def test_an_endpoint_where_nobody_listens_is_named():
    [port] = free_ports(1)
    source = s3_source(config(extra_client_kwargs={"s3": {"endpoint_url": f"http://127.0.0.1:{port}"}}))

    uri = parse("s3://bucket/x")
    for ask in (source.open, source.head, lambda uri: list(source.list(uri))):
        with pytest.raises(
            TransientSourceError, match=f"bucket/x: cannot connect to http://127.0.0.1:{port}"
        ):
            ask(uri)
    with pytest.raises(TransientSourceError, match=f"^s3://: cannot connect to http://127.0.0.1:{port}"):
        source.containers()


class TestChecksums:
    @pytest.fixture
    def verifying(self, s3_proxy: Proxy) -> Source:
        options = {"s3": {"endpoint_url": s3_proxy.endpoint}}
        return s3_source(config(verify_checksums=True, extra_client_kwargs=options))

    def test_are_known_when_they_are_asked_for(self, s3_server: S3Server, s3_bucket: str, verifying: Source):
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))

        with verifying.open(uri) as opened:
            assert opened.info.md5 == "5d41402abc4b2a76b9719d911017c592"

    @pytest.mark.parametrize(
        "headers",
        [
            {"ETag": '"5d41402abc4b2a76b9719d911017c592-2"'},
            {"ETag": '"5d41402abc4b2a76b9719d911017c592"', "x-amz-server-side-encryption": "aws:kms"},
            {
                "ETag": '"5d41402abc4b2a76b9719d911017c592"',
                "x-amz-server-side-encryption-customer-algorithm": "AES256",
            },
        ],
        ids=["multipart", "KMS", "customer's key"],
    )
    def test_are_not_guessed_from_an_etag_that_is_something_else(
        self, s3_bucket: str, s3_proxy: Proxy, verifying: Source, headers: dict[str, str]
    ):
        more = {"Last-Modified": "Mon, 02 Feb 2026 12:00:00 GMT"}
        s3_proxy.fault(None, Fault(status=200, body=b"hello", headers=headers | more))

        with verifying.open(parse(f"s3://{s3_bucket}/x")) as opened:
            assert opened.info.md5 is None

    def test_of_amazons_own_kind_are_checked(self, s3_bucket: str, s3_proxy: Proxy, verifying: Source):
        headers = {"ETag": '"x"', "Last-Modified": "Mon, 02 Feb 2026 12:00:00 GMT"}
        headers["x-amz-checksum-crc32"] = "AAAAAA=="
        s3_proxy.fault(None, Fault(status=200, body=b"hello", headers=headers))

        with pytest.raises(TransientSourceError, match="do not match the object's checksum"):
            bytes_of(verifying, parse(f"s3://{s3_bucket}/x"))


def test_the_configuration_is_checked_before_the_first_request():
    with pytest.raises(ConfigError, match=r"setting aws_profile.*nobody"):
        s3_source(MediaCacheConfig(aws_profile="nobody"))
