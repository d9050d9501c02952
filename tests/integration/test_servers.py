"""The servers that the other tests rest on do what those tests take for granted."""

from __future__ import annotations

import http.client
import os
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers import Fault, Proxy
from tests.servers import nginx as nginx_server
from tests.servers import seaweedfs as seaweedfs_server
from tests.servers.azurite import AzureServer, azurites
from tests.servers.azurite import missing as azurite_missing
from tests.servers.gcs import GCSServer
from tests.servers.http_server import HTTPServer
from tests.servers.nginx import nginx
from tests.servers.seaweedfs import SOCKETS, S3Server, seaweedfs


def get(host: str, path: str) -> tuple[int, bytes]:
    address, _, port = host.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(address, int(port), timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


class TestSeaweedFS:
    def test_leaves_no_file_behind(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
        # Other tests may run beside this one, with servers of their own
        removed = set[int]()
        remove = seaweedfs_server.remove_sockets
        monkeypatch.setattr(
            seaweedfs_server, "remove_sockets", lambda ports: (removed.update(ports), remove(ports))
        )
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

        with seaweedfs():
            assert list(tmp_path.iterdir())

        assert list(tmp_path.iterdir()) == []
        left = [int(path.stem.rpartition("-")[2]) for path in SOCKETS.glob("seaweedfs-*.sock")]
        assert not removed.intersection(left)

    def test_serves_what_was_put_to_its_administrator(self, s3_server: S3Server, s3_bucket: str):
        s3_server.put(s3_bucket, "a/b.txt", b"hello")
        s3_server.put_many(s3_bucket, {f"many/{n}.bin": b"%d" % n for n in range(100)})

        assert s3_server.client.get_object(Bucket=s3_bucket, Key="a/b.txt")["Body"].read() == b"hello"
        assert s3_server.client.get_object(Bucket=s3_bucket, Key="many/42.bin")["Body"].read() == b"42"

    def test_serves_strangers_from_public_buckets_only(self, s3_server: S3Server, s3_bucket: str):
        public = s3_server.create_bucket(public=True)
        for bucket in (public, s3_bucket):
            s3_server.put(bucket, "x", b"hello")

        assert get(s3_server.endpoint, f"/{public}/x") == (200, b"hello")
        assert get(s3_server.endpoint, f"/{s3_bucket}/x")[0] == 403


class TestProxy:
    def test_passes_signed_requests_and_counts_them(
        self, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy
    ):
        import boto3

        client = boto3.client(
            "s3",
            endpoint_url=s3_proxy.endpoint,
            aws_access_key_id=s3_server.access_key,
            aws_secret_access_key=s3_server.secret_key,
            region_name=s3_server.region,
        )
        client.put_object(Bucket=s3_bucket, Key="a b", Body=b"x" * 300_000)
        body = client.get_object(Bucket=s3_bucket, Key="a b", Range="bytes=10-19")["Body"].read()

        assert body == b"x" * 10
        assert [(r.method, r.path, r.range, r.status) for r in s3_proxy.requests] == [
            ("PUT", f"/{s3_bucket}/a b", None, 200),
            ("GET", f"/{s3_bucket}/a b", "bytes=10-19", 206),
        ]
        assert s3_proxy.counts() == {f"/{s3_bucket}/a b": 1}

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (Fault(truncate_after=1000), http.client.IncompleteRead),
            (Fault(reset_after=1000), ConnectionResetError),
            (Fault(hang_up=True), http.client.RemoteDisconnected),
        ],
    )
    def test_breaks_as_many_answers_as_it_is_told_to(
        self, s3_server: S3Server, s3_proxy: Proxy, fault: Fault, error: type[Exception]
    ):
        bucket = s3_server.create_bucket(public=True)
        s3_server.put(bucket, "x", b"x" * 10_000)
        s3_proxy.fault(f"/{bucket}/x", fault, times=1)

        with pytest.raises(error):
            get(s3_proxy.endpoint, f"/{bucket}/x")
        assert get(s3_proxy.endpoint, f"/{bucket}/x") == (200, b"x" * 10_000)

    def test_answers_in_the_place_of_the_server(self, s3_server: S3Server, s3_proxy: Proxy):
        s3_proxy.fault(None, Fault.s3(503, "SlowDown"))

        status, body = get(s3_proxy.endpoint, "/any/thing")
        assert (status, b"<Code>SlowDown</Code>" in body) == (503, True)


class TestFakeGCS:
    def test_serves_both_of_its_interfaces_through_a_proxy_too(self, gcs_server: GCSServer, gcs_proxy: Proxy):
        bucket = gcs_server.create_bucket()
        gcs_server.put(bucket, "a/b c.txt", b"hello")

        for endpoint in (gcs_server.endpoint, gcs_proxy.endpoint):
            assert get(endpoint, f"/{bucket}/a/b%20c.txt") == (200, b"hello")
            assert get(endpoint, f"/storage/v1/b/{bucket}/o/a%2Fb%20c.txt?alt=media") == (200, b"hello")


class TestAzurite:
    def test_is_there_where_a_forge_runs_the_tests(self):
        """`make test` installs it, and Node, where that can be done; elsewhere a skipped test says why."""
        reason = azurite_missing()
        if reason and "CI" in os.environ:
            pytest.fail(f"{reason}; else all tests of Azure are skipped, and nobody looks", pytrace=False)
        if reason:
            pytest.skip(reason)

    @pytest.mark.parametrize("node", [True, False])
    def test_that_is_not_installed_says_what_to_do(
        self, node: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        if node:
            (tmp_path / "node").write_text("#!/bin/sh\n")
            (tmp_path / "node").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("tests.servers.azurite._PROGRAM", tmp_path / "none")

        what = "run scripts/azurite" if node else "node is not installed.*apt-get install nodejs npm"
        with pytest.raises(RuntimeError, match=what), azurites(["forebayone"]):
            pass

    def test_serves_what_was_put_by_key_and_by_sas(self, azurite_server: AzureServer, azurite_container: str):
        from azure.storage.blob import BlobServiceClient

        uri = azurite_server.put(azurite_container, "a/b c.txt", b"hello", content_type="text/plain")
        azurite_server.put_many(azurite_container, {f"many/{n}.bin": b"%d" % n for n in range(20)})
        path = f"/{azurite_server.account}/{azurite_container}/a/b%20c.txt"

        by_key = BlobServiceClient.from_connection_string(azurite_server.connection_string())
        assert uri == f"az://{azurite_container}/a/b c.txt"
        assert by_key.get_blob_client(azurite_container, "many/12.bin").download_blob().readall() == b"12"
        assert get(azurite_server.host, f"{path}?{azurite_server.sas_token()}") == (200, b"hello")

    def test_refuses_strangers_other_accounts_and_expired_signatures(
        self, azurite_server: AzureServer, azurite_container: str
    ):
        azurite_server.put(azurite_container, "x", b"hello")
        path = f"/{azurite_server.account}/{azurite_container}/x"
        expired = azurite_server.sas_token(lasts=timedelta(minutes=-5))
        forged = azurite_server.sas_token().replace("sig=", "sig=0")

        assert get(azurite_server.host, path)[0] == 403
        assert get(azurite_server.host, f"{path}?{expired}")[0] == 403
        assert get(azurite_server.host, f"{path}?{forged}")[0] == 403

    def test_serves_anybody_from_a_public_container_through_a_proxy_too(
        self, azurite_server: AzureServer, azurite_proxy: Proxy
    ):
        container = azurite_server.create_container(public=True)
        azurite_server.put(container, "x", b"hello")

        assert get(azurite_proxy.endpoint, f"/{azurite_server.account}/{container}/x") == (200, b"hello")
        assert azurite_proxy.count("GET") == 1

    @pytest.mark.skipif(azurite_missing() is not None, reason=str(azurite_missing()))
    def test_serves_two_accounts_over_tls(self):
        from azure.core.exceptions import ClientAuthenticationError
        from azure.storage.blob import BlobServiceClient

        with azurites(["forebayone", "forebaytwo"], tls=True, oauth=True) as (one, two):
            for server in (one, two):
                server.put(server.create_container("same"), "x", server.account.encode())
            wrong = BlobServiceClient(one.endpoint, credential=two.key, connection_verify=one.certificate)

            assert one.endpoint.startswith("https://")
            for server in (one, two):
                blob = server.client.get_blob_client("same", "x").download_blob().readall()
                assert blob == server.account.encode()
            with pytest.raises(ClientAuthenticationError):
                wrong.get_blob_client("same", "x").download_blob()


class TestHTTPServer:
    def test_serves_what_was_put_and_logs_requests(self, http_server: HTTPServer):
        http_server.put("/a?b=c", b"hello")

        assert get(http_server.endpoint, "/a?b=c") == (200, b"hello")
        assert get(http_server.endpoint, "/a")[0] == 404
        assert (http_server.count("/a?b=c"), http_server.requests[0].status) == (1, 200)


@pytest.mark.skipif(
    nginx_server.find() is None, reason="nginx is not installed; on Debian: sudo apt-get install nginx-light"
)
class TestNginx:
    def test_serves_a_directory(self, tmp_path: Path):
        (tmp_path / "bucket").mkdir()
        (tmp_path / "bucket" / "x").write_bytes(b"hello")

        with nginx(tmp_path) as endpoint:
            assert get(endpoint, "/bucket/x") == (200, b"hello")
