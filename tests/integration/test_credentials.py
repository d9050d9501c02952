"""Two servers, and two accounts of one, in one job: credentials by prefix, and who pays."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from forebay.cache import MediaCache
from forebay.cvat.buckets import CloudBucket
from forebay.errors import AccessDeniedError, ConfigError
from forebay.jobs import helpers
from forebay.jobs.helper_process import HelperProcess
from forebay.remote import Remote
from forebay.uri import parse
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.gcs import fake_gcs
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker

SCHEMES = ["s3", "minio"]


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def two(
    s3_server: S3Server, other_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> tuple[S3Server, S3Server]:
    """Two servers; the keys of both are in variables, and nothing else is set."""
    for name, server in (("FIRST", s3_server), ("SECOND", other_s3_server)):
        monkeypatch.setenv(f"{name}_KEY", server.access_key)
        monkeypatch.setenv(f"{name}_SECRET", server.secret_key)
    return s3_server, other_s3_server


def rules(scheme: str, two: tuple[S3Server, S3Server]) -> dict[str, dict[str, Any]]:
    """All buckets are the first server's; those called ``other-…`` are the second's."""
    return {
        prefix: {
            "access_key_variable": f"{name}_KEY",
            "secret_key_variable": f"{name}_SECRET",
            "endpoint_url": server.endpoint,
            "region": server.region,
        }
        for prefix, name, server in zip(
            (f"{scheme}://", f"{scheme}://other-*"), ("FIRST", "SECOND"), two, strict=True
        )
    }


@pytest.fixture
def filled(scheme: str, two: tuple[S3Server, S3Server], request: pytest.FixtureRequest) -> dict[str, bytes]:
    """Objects in a bucket of each server, by their URIs."""
    first, second = two
    name = f"other-{first.create_bucket()}"
    second.create_bucket(name)
    contents = {}
    for server, bucket in ((first, name.removeprefix("other-")), (second, name)):
        for number in range(8):
            body = f"{bucket} {number}".encode()
            server.put(bucket, f"a/{number}.bin", body)
            contents[f"{scheme}://{bucket}/a/{number}.bin"] = body
    return contents


@pytest.fixture
def credentials(scheme: str, two: tuple[S3Server, S3Server]) -> dict[str, Any]:
    return {"credentials": rules(scheme, two), "allowed_sources": ["s3://", "minio://"]}


def contents_of(cache: MediaCache, uris: Any) -> dict[str, bytes]:
    return {uri: Path(cache.local_path(uri)).read_bytes() for uri in uris}


def roots(filled: dict[str, bytes]) -> list[str]:
    return sorted({uri[: uri.index("/", 10) + 1] for uri in filled}, key=len)


class TestTwoServers:
    def test_in_one_job(self, make_cache: MakeCache, filled: dict[str, bytes], credentials: dict[str, Any]):
        cache = make_cache(**credentials)
        cache.download_media(list(filled), progress=False)
        assert contents_of(cache, filled) == filled

    def test_through_the_fleet(
        self, make_cache: MakeCache, filled: dict[str, bytes], credentials: dict[str, Any]
    ):
        cache = make_cache(dispatch="fleet", **credentials)
        with worker(cache):
            cache.download_media(list(filled), progress=False)
        assert contents_of(make_cache(**credentials), filled) == filled

    def test_by_several_processes(
        self,
        make_cache: MakeCache,
        filled: dict[str, bytes],
        credentials: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ):
        # given jobs that are large as soon as they have a few samples
        monkeypatch.setattr(helpers, "SAMPLES", 4)
        monkeypatch.setattr("forebay.jobs.local._FIRST_SAMPLES", 2)
        begun: list[int] = []
        begin = HelperProcess.begin

        def noted(self: HelperProcess, task: Mapping[str, Any]) -> None:
            begun.append(task["number"])
            begin(self, task)

        monkeypatch.setattr(HelperProcess, "begin", noted)
        cache = make_cache(local_processes=2, message_size=1, **credentials)
        cache.download_media(list(filled), progress=False)
        assert begun == [1]
        assert contents_of(cache, filled) == filled

    def test_listed_signed_written_copied_and_deleted(
        self, make_cache: MakeCache, filled: dict[str, bytes], credentials: dict[str, Any]
    ):
        remote = Remote(make_cache(**credentials))
        here, there = roots(filled)
        assert sorted(info.uri for root in (here, there) for info in remote.list_objects(root)) == sorted(
            filled
        )
        for uri, body in filled.items():
            assert requests.get(remote.sign(uri, 60), timeout=20).content == body
        # From one server to the other the bytes come by here; within one they do not.
        for source, target in (
            (f"{here}a/0.bin", f"{there}copy"),
            (f"{there}a/0.bin", f"{here}copy"),
            (f"{there}a/1.bin", f"{there}copy within"),
        ):
            remote.copy(source, target)
            assert bytes(remote.read_range(target, 0, 1000)) == filled[source]
            remote.delete(target)
            assert not remote.exists(target)

    def test_by_the_command_line_from_the_environment(
        self, forebay: Forebay, filled: dict[str, bytes], credentials: dict[str, Any]
    ):
        done = forebay("prefetch", *roots(filled), "--json", **credentials)
        assert (done.status, done.json["downloaded"]) == (0, len(filled)), done.err
        shown = forebay("config", **credentials)
        assert "FIRST_KEY" in shown.out
        for secret in ("admin-secret", "other-secret"):
            assert secret not in shown.out + done.out + done.err

    def test_cvat_is_told_the_server_of_the_bucket(
        self,
        make_cache: MakeCache,
        scheme: str,
        two: tuple[S3Server, S3Server],
        credentials: dict[str, Any],
    ):
        config = make_cache(**credentials).config
        for bucket, server in (("photos", two[0]), ("other-photos", two[1])):
            assert CloudBucket.of(f"{scheme}://{bucket}/", config).endpoint == server.endpoint


class TestTwoAccounts:
    @pytest.fixture
    def accounts(
        self, s3_server: S3Server, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> dict[str, dict[str, Any]]:
        """The environment has the administrator; buckets called ``strange-…`` are a stranger's."""
        monkeypatch.setenv("STRANGE_KEY", s3_server.stranger[0])
        monkeypatch.setenv("STRANGE_SECRET", s3_server.stranger[1])
        keys = {"access_key_variable": "STRANGE_KEY", "secret_key_variable": "STRANGE_SECRET"}
        return {"s3://strange-*": keys}

    def test_the_rule_is_named_where_its_keys_may_not(
        self, make_cache: MakeCache, s3_server: S3Server, accounts: dict[str, dict[str, Any]]
    ):
        plain = s3_server.create_bucket()
        strange = s3_server.create_bucket(f"strange-{plain}")
        cache = make_cache(credentials=accounts)
        assert Path(cache.local_path(s3_server.put(plain, "x", b"pixels"))).read_bytes() == b"pixels"
        with pytest.raises(AccessDeniedError) as raised:
            cache.local_path(s3_server.put(strange, "x", b"pixels"))
        assert (
            "the credentials in the environment variable STRANGE_KEY, by the prefix 's3://strange-*' "
            "of the setting credentials; check that they may read it" in str(raised.value)
        )
        assert s3_server.stranger[1] not in str(raised.value)

    def test_a_copy_between_accounts_is_read_with_one_and_written_with_the_other(
        self,
        make_cache: MakeCache,
        s3_server: S3Server,
        s3_proxy: Proxy,
        accounts: dict[str, dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ):
        # given a bucket that only its own keys may write, and one that anybody may read
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
        plain = s3_server.create_bucket()
        strange = s3_server.create_bucket(f"strange-{plain}", public=True)
        remote = Remote(make_cache(credentials=accounts))
        uri = s3_server.put(strange, "x", b"pixels")

        remote.copy(uri, f"s3://{plain}/x")

        assert bytes(remote.read_range(f"s3://{plain}/x", 0, 10)) == b"pixels"
        signed = [
            (request.method, request.headers["authorization"].partition("Credential=")[2].partition("/")[0])
            for request in s3_proxy.requests
        ]
        assert ("GET", s3_server.stranger[0]) in signed
        assert ("PUT", s3_server.access_key) in signed
        # A server copies with one set of keys, so it is asked to where there is one only.
        assert not any("x-amz-copy-source" in request.headers for request in s3_proxy.requests)
        s3_proxy.reset()
        remote.copy(f"s3://{plain}/x", f"s3://{plain}/y")
        assert any("x-amz-copy-source" in request.headers for request in s3_proxy.requests)

    def test_a_worker_without_the_variable_says_so(
        self,
        make_cache: MakeCache,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
        accounts: dict[str, dict[str, Any]],
    ):
        monkeypatch.delenv("STRANGE_KEY")
        with pytest.raises(ConfigError, match="the environment variable STRANGE_KEY, which is not set"):
            make_cache(credentials=accounts).local_path("s3://strange-x/x")


class TestGoogle:
    def test_two_servers(self, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch):
        with fake_gcs() as first, fake_gcs() as second:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", first.endpoint)
            remote = Remote(
                make_cache(credentials={"gs://other-*": {"endpoint_url": second.endpoint, "anonymous": True}})
            )
            plain = first.create_bucket()
            other = f"other-{plain}"
            requests.post(
                f"{second.endpoint}/storage/v1/b?project=p", json={"name": other}, timeout=20
            ).raise_for_status()
            first.put(plain, "a.bin", b"first")
            second.put(other, "a.bin", b"second")
            assert bytes(remote.read_range(f"gs://{plain}/a.bin", 0, 10)) == b"first"
            assert bytes(remote.read_range(f"gs://{other}/a.bin", 0, 10)) == b"second"
            remote.copy(f"gs://{other}/a.bin", f"gs://{plain}/b.bin")
            assert bytes(remote.read_range(f"gs://{plain}/b.bin", 0, 10)) == b"second"

    def test_the_project_that_pays(
        self, make_cache: MakeCache, gcs_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ):
        uri = parse("gs://b/x")
        for pays, variable, project in (
            ("mine", None, "mine"),
            (True, "theirs", "theirs"),
            (False, "x", None),
        ):
            if variable:
                monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", variable)
            cache = make_cache(credentials={"gs://b/": {"requester_pays": pays}})
            headers = dict(cache.engine.sources.for_uri(uri).request(uri).headers)
            assert headers.get("x-goog-user-project") == project

    @pytest.mark.parametrize("way", ["for all", "for a prefix"])
    def test_every_request_names_the_project(
        self,
        make_cache: MakeCache,
        gcs_proxy: Proxy,
        gcs_bucket: str,
        monkeypatch: pytest.MonkeyPatch,
        way: str,
    ):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_proxy.endpoint)
        settings: dict[str, Any] = (
            {"extra_client_kwargs": {"gs": {"user_project": "ours"}}}
            if way == "for all"
            else {"credentials": {"gs://bucket-*": {"requester_pays": "ours"}}}
        )
        remote = Remote(make_cache(**settings))
        large = io.BytesIO(bytes(20_000_000))
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("written", lambda: remote.put(f"gs://{gcs_bucket}/a b", b"pixels")),
            ("written in parts", lambda: remote.put(f"gs://{gcs_bucket}/large", large)),
            ("read", lambda: remote.read_range(f"gs://{gcs_bucket}/a b", 0, 3)),
            ("asked for", lambda: remote.head(f"gs://{gcs_bucket}/a b")),
            ("listed", lambda: remote.list_objects(f"gs://{gcs_bucket}/")),
            ("copied", lambda: remote.copy(f"gs://{gcs_bucket}/a b", f"gs://{gcs_bucket}/c")),
            ("deleted", lambda: remote.delete(f"gs://{gcs_bucket}/c")),
        ]
        for what, step in steps:
            gcs_proxy.reset()
            step()
            said = [
                request.headers.get("x-goog-user-project")
                or parse_qs(urlsplit(request.target).query).get("userProject", [None])[0]
                for request in gcs_proxy.requests
            ]
            assert said, what
            assert set(said) == {"ours"}, what


class TestWhoPays:
    @pytest.fixture(params=["for all", "for a prefix"])
    def paying(
        self,
        request: pytest.FixtureRequest,
        make_cache: MakeCache,
        s3_proxy: Proxy,
        s3_server: S3Server,
        monkeypatch: pytest.MonkeyPatch,
        s3_bucket: str,
    ) -> Remote:
        for name, value in s3_server.environment(s3_proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        if request.param == "for all":
            return Remote(make_cache(requester_pays=True))
        return Remote(make_cache(credentials={f"s3://{s3_bucket}/": {"requester_pays": True}}))

    def test_every_request_says_so(self, paying: Remote, s3_proxy: Proxy, s3_bucket: str):
        large = io.BytesIO(bytes(20_000_000))
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("written", lambda: paying.put(f"s3://{s3_bucket}/a b", b"pixels")),
            ("written in parts", lambda: paying.put(f"s3://{s3_bucket}/large", large)),
            ("read", lambda: paying.read_range(f"s3://{s3_bucket}/a b", 0, 3)),
            ("asked for", lambda: paying.head(f"s3://{s3_bucket}/a b")),
            ("listed", lambda: paying.list_objects(f"s3://{s3_bucket}/")),
            ("copied", lambda: paying.copy(f"s3://{s3_bucket}/a b", f"s3://{s3_bucket}/c")),
            ("deleted", lambda: paying.delete(f"s3://{s3_bucket}/c")),
        ]
        for what, step in steps:
            s3_proxy.reset()
            step()
            said = [request.headers.get("x-amz-request-payer") for request in s3_proxy.requests]
            assert said, what
            assert set(said) == {"requester"}, what

    def test_a_signed_url_says_so_itself_so_that_a_browser_can_follow_it(
        self, paying: Remote, s3_server: S3Server, s3_bucket: str
    ):
        s3_server.put(s3_bucket, "a b", b"pixels")
        url = paying.sign(f"s3://{s3_bucket}/a b", 60)
        assert "x-amz-request-payer=requester" in url
        assert "X-Amz-SignedHeaders=host&" in url
        assert requests.get(url, timeout=20).content == b"pixels"
        # The signature holds for the parameter.
        assert requests.get(url.replace("=requester", "=nobody"), timeout=20).status_code == 403

    def test_nobody_says_so_unasked(
        self, make_cache: MakeCache, s3_environment: dict[str, str], s3_bucket: str
    ):
        uri = parse(f"s3://{s3_bucket}/x")
        source = make_cache().engine.sources.for_uri(uri)
        assert "x-amz-request-payer" not in dict(source.request(uri).headers)
        assert "payer" not in source.sign(uri)
