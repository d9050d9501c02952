"""One reading of the environment: what boto3 lists can be read, and what cannot be used is said at once.

Each row is a setting of a real machine, against a real server. Listings go through boto3, reads through
Forebay's own transport: both must come to the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import (
    AccessDeniedError,
    ConfigError,
    ForebayError,
    ObjectNotFoundError,
    SourceError,
    SourceNotAllowedError,
    TransientSourceError,
    UriError,
)
from forebay.sources.base import Source
from forebay.sources.s3 import s3_source
from forebay.sources.sources import Sources
from forebay.transport.tls import VARIABLES
from forebay.uri import parse
from tests.caches import MakeCache
from tests.integration.sites import bytes_of, config
from tests.servers import Fault, Proxy
from tests.servers.certificates import self_signed
from tests.servers.exact_s3 import ExactS3Server, exact_s3
from tests.servers.http_server import HTTPServer
from tests.servers.process import free_ports
from tests.servers.seaweedfs import S3Server


@dataclass
class Machine:
    """What a row may refer to.

    Attributes:
        home: the home directory, which is empty.
        dead: the URL of a port at which nobody listens.
    """

    server: S3Server
    proxy: Proxy
    home: Path
    dead: str

    def file(self, name: str, text: str) -> None:
        path = self.home / ".aws" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@dataclass(frozen=True)
class Row:
    """A machine's settings, and what comes of a read and a listing.

    Attributes:
        variables: beside keys, region and endpoint of the server; ``None`` unsets one.
        prepare: does what variables cannot.
        fails: with an error of this kind, whose message matches ``says``.
    """

    name: str
    variables: Callable[[Machine], dict[str, str | None]] = lambda machine: {}
    prepare: Callable[[Machine], object] = lambda machine: None
    options: dict[str, Any] = field(default_factory=dict)
    fails: type[ForebayError] | None = None
    says: str = ""


def proxied(no_proxy: Callable[[Machine], str]) -> Callable[[Machine], dict[str, str | None]]:
    """All that is not exempt goes to a dead proxy."""
    return lambda machine: {"HTTP_PROXY": machine.dead, "NO_PROXY": no_proxy(machine)}


def newline_after(name: str, value: Callable[[Machine], str]) -> Row:
    return Row(f"a newline after {name}", lambda machine: {name: value(machine) + "\n"})


def credentials_file(machine: Machine, more: str = "") -> None:
    server = machine.server
    machine.file(
        "credentials",
        f"[default]\naws_access_key_id = {server.access_key}\n"
        f"aws_secret_access_key = {server.secret_key}\n{more}",
    )


NO_KEYS: dict[str, str | None] = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
ROWS = [
    Row("nothing else"),
    Row("an empty token", lambda machine: {"AWS_SESSION_TOKEN": ""}),
    Row(
        "an empty token in the credentials file",
        lambda machine: NO_KEYS,
        lambda machine: credentials_file(machine, "aws_session_token =\n"),
    ),
    newline_after("AWS_ACCESS_KEY_ID", lambda machine: machine.server.access_key),
    newline_after("AWS_SECRET_ACCESS_KEY", lambda machine: machine.server.secret_key),
    newline_after("AWS_DEFAULT_REGION", lambda machine: "us-east-1"),
    newline_after("AWS_REGION", lambda machine: "us-east-1"),
    newline_after("AWS_ENDPOINT_URL_S3", lambda machine: machine.proxy.endpoint),
    newline_after("AWS_ENDPOINT_URL", lambda machine: machine.proxy.endpoint),
    Row(
        "newlines, and a config file that has botocore read them",
        lambda machine: {
            "AWS_ACCESS_KEY_ID": machine.server.access_key + "\n",
            "AWS_SECRET_ACCESS_KEY": machine.server.secret_key + "\r\n",
            "AWS_SESSION_TOKEN": "\n",
        },
        lambda machine: machine.file("config", "[default]\nregion = us-east-1\n"),
    ),
    Row(
        "a key with a blank in it",
        lambda machine: {"AWS_ACCESS_KEY_ID": "a key"},
        fails=ConfigError,
        says="environment variable AWS_ACCESS_KEY_ID has a blank",
    ),
    Row(
        "an endpoint without a scheme",
        lambda machine: {"AWS_ENDPOINT_URL_S3": "127.0.0.1:9000"},
        fails=ConfigError,
        says="environment variable AWS_ENDPOINT_URL_S3='127.0.0.1:9000' must begin with http:// or https://",
    ),
    Row(
        "an endpoint with a blank",
        lambda machine: {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1: 9000"},
        fails=ConfigError,
        says="environment variable AWS_ENDPOINT_URL_S3 has a blank",
    ),
    Row(
        "an endpoint with port 99999",
        lambda machine: {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:99999"},
        fails=ConfigError,
        says="'http://127.0.0.1:99999' is no http.* from 1 to 65535",
    ),
    Row(
        "an endpoint with port 99999 in the settings",
        options={"endpoint_url": "http://127.0.0.1:99999"},
        fails=ConfigError,
        says="extra_client_kwargs, 's3': endpoint_url: 'http://127.0.0.1:99999' is no",
    ),
    Row(
        "buckets in the host's name, and an IP address as the host",
        prepare=lambda machine: machine.file("config", "[default]\ns3 =\n  addressing_style = virtual\n"),
    ),
    Row("variables that only obstore knew", lambda machine: {"AWS_S3_EXPRESS": "true"}),
    Row("another one of them", lambda machine: {"AWS_CONDITIONAL_PUT": "nonsense"}),
    Row("a login for every host", prepare=lambda machine: netrc(machine.home)),
    Row("NO_PROXY with the host", proxied(lambda machine: "127.0.0.1")),
    Row("NO_PROXY with host and port", proxied(lambda machine: f"127.0.0.1:{machine.proxy.port}")),
    Row("NO_PROXY with a star", proxied(lambda machine: "*")),
    Row("NO_PROXY with a network", proxied(lambda machine: "10.0.0.0/8, 127.0.0.0/8")),
    Row(
        "NO_PROXY with another port",
        proxied(lambda machine: "127.0.0.1:1"),
        fails=TransientSourceError,
        says=r"the proxy http://127\.0\.0\.1:\d+ cannot be reached or refuses",
    ),
    *(
        Row(
            f"{name} is dead",
            lambda machine, name=name: {name: machine.dead},  # type: ignore[misc]
            fails=TransientSourceError,
            says=r"the proxy http://127\.0\.0\.1:\d+ cannot be reached or refuses",
        )
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY")
    ),
    *(
        Row(
            f"{name} does not exist",
            lambda machine, name=name: {name: "/there/is/no.pem"},  # type: ignore[misc]
            fails=ConfigError,
            says=f"environment variable {name}: there is no file '/there/is/no.pem'",
        )
        for name in VARIABLES
    ),
]


def netrc(home: Path) -> None:
    (home / ".netrc").write_text("default login nobody password else\n")


@pytest.fixture(autouse=True)
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "no_proxy", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def machine(s3_server: S3Server, s3_proxy: Proxy, clean_environment: Path) -> Machine:
    return Machine(s3_server, s3_proxy, clean_environment, f"http://127.0.0.1:{free_ports(1)[0]}")


def source_of(options: dict[str, Any] | None = None) -> Source:
    return s3_source(config(extra_client_kwargs={"s3": options or {}}))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_reading_and_listing_come_to_the_same(
    row: Row, machine: Machine, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
):
    uri = parse(machine.server.put(s3_bucket, "x", b"hello"))
    variables = row.variables(machine)
    given = machine.server.environment(machine.proxy.endpoint)
    if "AWS_ENDPOINT_URL" in variables:
        given.pop("AWS_ENDPOINT_URL_S3", None)
    if "AWS_REGION" in variables:
        given.pop("AWS_DEFAULT_REGION", None)
    for name, value in {**given, **variables}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    row.prepare(machine)

    def read() -> bytes:
        return bytes_of(source_of(row.options), uri)

    def listed() -> list[int | None]:
        return [info.size for info in source_of(row.options).list(uri)]

    if row.fails is None:
        assert read() == b"hello"
        assert listed() == [5]
        return
    for ask in (read, listed):
        with pytest.raises(row.fails, match=row.says):
            ask()


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    """A key and a certificate for 127.0.0.1 that nobody vouches for."""
    return self_signed(tmp_path / "certificate.pem")


@pytest.fixture
def tls_server(certificate: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExactS3Server]:
    with exact_s3(certificate=certificate) as server:
        server.objects["x"] = b"hello"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
        yield server


class TestTLS:
    @pytest.mark.usefixtures("tls_server")
    @pytest.mark.parametrize("variable", [name for name in VARIABLES if name != "SSL_CERT_DIR"])
    def test_a_bundle_of_the_servers_own_certificate(
        self, certificate: str, variable: str, monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse("s3://bucket/x")
        for ask in (source_of().open, lambda uri: list(source_of().list(uri))):
            with pytest.raises(SourceError, match="certificate is not trusted"):
                ask(uri)

        monkeypatch.setenv(variable, certificate)

        assert bytes_of(source_of(), uri) == b"hello"
        assert [info.size for info in source_of().list(uri)] == [5]

    @pytest.mark.usefixtures("tls_server")
    def test_a_bundle_of_the_config_file(self, certificate: str, clean_environment: Path):
        (clean_environment / ".aws").mkdir()
        (clean_environment / ".aws" / "config").write_text(f"[default]\nca_bundle = {certificate}\n")

        assert bytes_of(source_of(), parse("s3://bucket/x")) == b"hello"
        assert [info.size for info in source_of().list(parse("s3://bucket/x"))] == [5]

    def test_an_http_endpoint_that_redirects_to_https(
        self,
        tls_server: ExactS3Server,
        http_server: HTTPServer,
        certificate: str,
        monkeypatch: pytest.MonkeyPatch,
    ):
        http_server.redirect("/bucket/x", f"{tls_server.endpoint}/bucket/x", status=301)
        monkeypatch.setenv("AWS_CA_BUNDLE", certificate)

        source = source_of({"endpoint_url": http_server.endpoint})

        assert bytes_of(source, parse("s3://bucket/x")) == b"hello"
        assert source.head(parse("s3://bucket/x")).size == 5


@pytest.mark.usefixtures("s3_environment")
class TestRedirectsOfAnEndpoint:
    def test_to_a_private_address_are_refused(self, http_server: HTTPServer, other_http_server: HTTPServer):
        http_server.redirect("/bucket/x", other_http_server.put("/bucket/x", b"hello"), status=307)

        with pytest.raises(SourceNotAllowedError, match=r"private address 127\.0\.0\.2; if it should"):
            source_of({"endpoint_url": http_server.endpoint}).open(parse("s3://bucket/x"))
        assert not other_http_server.requests

    def test_to_another_host_take_no_credentials_along(
        self, http_server: HTTPServer, other_http_server: HTTPServer, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("forebay.sources.routes.is_public", lambda address: True)
        http_server.redirect("/bucket/x", other_http_server.put("/bucket/x", b"hello"), status=307)
        keys = {
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
            "aws_session_token": "token",
        }

        source = source_of({"endpoint_url": http_server.endpoint, **keys})

        assert bytes_of(source, parse("s3://bucket/x")) == b"hello"
        assert http_server.requests[0].headers["x-amz-security-token"] == "token"
        (redirected,) = other_http_server.requests
        assert not {"authorization", "x-amz-security-token"} & set(redirected.headers)


@pytest.mark.usefixtures("s3_environment")
class TestNames:
    @pytest.mark.parametrize("bucket", [" photos", "..", ".", "b?c", "b#c", "b c", "-b", "b%2fc", "é"])
    def test_of_buckets_that_no_server_has_cost_their_sample_only(self, bucket: str):
        source, uri = source_of(), parse(f"s3://{bucket}/photos/a.jpg")

        for ask in (source.open, source.head, source.sign, lambda uri: list(source.list(uri))):
            with pytest.raises(SourceError, match="is no name of a bucket"):
                ask(uri)

    def test_of_directory_buckets_are_refused(self):
        with pytest.raises(SourceError, match="S3 Express directory buckets are not supported"):
            source_of().open(parse("s3://photos--usw2-az1--x-s3/a.jpg"))

    def test_of_access_points_are_refused_with_a_remedy(self):
        with pytest.raises(UriError, match="use the access point's alias"):
            parse("s3://arn:aws:s3:us-west-2:123456789012:accesspoint/photos/a.jpg")

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("a.jpg?versionId=1", r"\?versionId= is taken for a part of the key"),
            ("*.jpg", "pattern to --include"),
            ("{000..012}.jpg", "pattern to --include"),
        ],
    )
    def test_that_look_like_more_than_a_key(self, s3_server: S3Server, s3_bucket: str, key: str, hint: str):
        uri = parse(f"s3://{s3_bucket}/{key}")
        with pytest.raises(ObjectNotFoundError, match=hint):
            source_of().open(uri)
        s3_server.put(s3_bucket, key, b"hello")
        assert bytes_of(source_of(), uri) == b"hello", "it is a key like any other"


class TestLogins:
    def test_of_netrc_are_used_where_no_other_is(self, http_server: HTTPServer, clean_environment: Path):
        netrc(clean_environment)
        uri = parse(http_server.put("/x", b"hello"))

        def authorization(**options: Any) -> str:
            settings = config(allowed_sources=[http_server.endpoint], extra_client_kwargs={"http": options})
            assert bytes_of(Sources(settings).for_uri(uri), uri) == b"hello"
            return http_server.requests[-1].headers["authorization"]

        assert authorization() == "Basic bm9ib2R5OmVsc2U="
        assert authorization(headers={"Authorization": "Bearer mine"}) == "Bearer mine"
        assert authorization(auth=["a", "b"]) == "Basic YTpi"

    def test_that_expire_are_looked_up_again(
        self,
        s3_server: S3Server,
        s3_bucket: str,
        s3_proxy: Proxy,
        clean_environment: Path,
        monkeypatch: pytest.MonkeyPatch,
    ):
        # Given keys in a file, which a server takes for expired, and others in the same file afterwards
        uri = parse(s3_server.put(s3_bucket, "x", b"hello"))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
        machine = Machine(s3_server, s3_proxy, clean_environment, "")
        machine.file("credentials", "[default]\naws_access_key_id = OLD\naws_secret_access_key = s\n")
        source = source_of()
        s3_proxy.fault(f"/{s3_bucket}/x", Fault.s3(400, "ExpiredToken"), times=1)
        with pytest.raises(AccessDeniedError, match="ExpiredToken"):
            source.open(uri)

        s3_proxy.fault(f"/{s3_bucket}/x", Fault.s3(400, "ExpiredToken"), times=1)
        credentials_file(machine)
        time.sleep(0.6)  # the file is not looked at with every request

        assert bytes_of(source, uri) == b"hello"
        assert s3_proxy.count("GET", f"/{s3_bucket}/x") == 3


@pytest.mark.usefixtures("s3_environment")
@pytest.mark.timeout(60)
def test_a_job_goes_on_past_samples_that_no_server_can_have(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
):
    good = [s3_server.put(s3_bucket, f"{number}.jpg", b"hello") for number in range(4)]
    bad = ["s3:// photos/b.jpg", "s3://../photos/a.jpg", "s3://b?c/a.jpg", f"s3://{s3_bucket}/*.jpg"]
    cache = make_cache()

    cache.download_media([*bad, *good], skip_failures=True)

    for uri in bad:
        with pytest.raises(SourceError, match=r"is no name of a bucket|pattern to --include"):
            cache.local_path(uri)
    assert [Path(cache.local_path(uri)).read_bytes() for uri in good] == [b"hello"] * 4
    assert cache.stats()["current_count"] == 4
