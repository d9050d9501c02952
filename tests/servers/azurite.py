"""Azurite: an Azure Blob Storage server that checks keys, SAS tokens and, over TLS, bearer tokens."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import secrets
import shutil
import ssl
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.servers.certificates import self_signed
from tests.servers.process import free_ports, running
from tests.servers.proxy import Proxy

HOME = Path(__file__).resolve().parents[2] / ".venv" / "azurite"
_PROGRAM = HOME / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def missing() -> str | None:
    """Why Azurite cannot be started here; None if it can."""
    if shutil.which("node") is None:
        return "node is not installed, which runs Azurite; on Debian: sudo apt-get install nodejs npm"
    return None if _PROGRAM.exists() else "Azurite is not installed: run scripts/azurite, which needs npm"


@dataclass
class AzureServer:
    """One account of a running Azurite. The account is the first segment of a path.

    Attributes:
        account, key: the account's name, and its key in base64.
        certificate: the file that a client must trust over TLS; None over HTTP.
    """

    port: int
    account: str
    key: str
    certificate: str | None = None

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def host(self) -> str:
        """The server without the account, for instance ``http://127.0.0.1:10000``."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """The account's URL, for instance ``http://127.0.0.1:10000/forebaytest``."""
        return f"{self.host}/{self.account}"

    def environment(self, endpoint: str | None = None) -> dict[str, str]:
        """The variables that make Forebay use this account, by its key.

        Args:
            endpoint: of a `Proxy` in front of the server; the account is added to it.
        """
        trust = {"REQUESTS_CA_BUNDLE": self.certificate} if self.certificate else {}
        return {
            "AZURE_STORAGE_ACCOUNT": self.account,
            "AZURE_STORAGE_KEY": self.key,
            "AZURE_STORAGE_ACCOUNT_URL": f"{endpoint or self.host}/{self.account}",
            **trust,
        }

    def connection_string(self, endpoint: str | None = None) -> str:
        """As the portal shows it, and as ``AZURE_STORAGE_CONNECTION_STRING`` and ``conn_str`` want it."""
        scheme, host = self.host.split(":")[0], endpoint or self.host
        return (
            f"DefaultEndpointsProtocol={scheme};AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={host}/{self.account};"
        )

    def sas_token(self, permission: str = "rl", *, lasts: timedelta = timedelta(hours=1)) -> str:
        """A SAS of the account for its containers and blobs, without the question mark.

        Args:
            permission: letters, such as ``r`` for read, ``l`` for list, ``w`` for write, ``d`` for delete.
            lasts: how long it is valid from now on; less than nothing for one that has expired.
        """
        from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

        token: str = generate_account_sas(
            self.account,
            self.key,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions.from_string(permission),
            datetime.now(timezone.utc) + lasts,
            start=datetime.now(timezone.utc) - timedelta(days=1),
            protocol="https,http",
        )
        return token

    @contextlib.contextmanager
    def proxied(self) -> Iterator[Proxy]:
        """A `Proxy` in front of the server: counts requests, injects faults. Only over HTTP."""
        with Proxy(self.address) as proxy:
            yield proxy

    @cached_property
    def client(self) -> Any:
        """A ``BlobServiceClient`` with the account's key, for preparing and checking."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(
            self.endpoint, credential=self.key, connection_verify=self.certificate or True
        )

    def create_container(self, name: str | None = None, *, public: bool = False) -> str:
        """Creates a container and returns its name; a fresh one unless given.

        Args:
            public: anyone may read and list it without credentials.
        """
        name = name or f"container-{uuid.uuid4().hex[:12]}"
        self.client.create_container(name, public_access="container" if public else None)
        return name

    def put(self, container: str, blob: str, body: bytes, **arguments: Any) -> str:
        """Writes one blob with its MD5 and returns its ``az://`` URI.

        Args:
            arguments: for ``upload_blob``, such as ``metadata``; ``content_type`` and
                ``content_encoding`` are properties of the blob.
        """
        from azure.storage.blob import ContentSettings

        properties = {n: arguments.pop(n) for n in ("content_type", "content_encoding") if n in arguments}
        settings = ContentSettings(content_md5=bytearray(hashlib.md5(body).digest()), **properties)
        client = self.client.get_blob_client(container, blob)
        client.upload_blob(body, overwrite=True, content_settings=settings, **arguments)
        return f"az://{container}/{blob}"

    def put_many(self, container: str, blobs: Mapping[str, bytes], *, threads: int = 8) -> list[str]:
        """Writes many blobs and returns their URIs, in order."""
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(lambda item: self.put(container, *item), blobs.items()))

    def delete(self, container: str, blob: str) -> None:
        self.client.get_blob_client(container, blob).delete_blob()


@contextlib.contextmanager
def azurites(
    accounts: Sequence[str], *, tls: bool = False, oauth: bool = False
) -> Iterator[list[AzureServer]]:
    """Starts one Azurite on a free port with several accounts, and an empty store in memory.

    Args:
        accounts: their names, of 3 to 24 small letters and digits; each gets a key of its own.
        tls: serve over TLS, with a certificate that only clients trust that are told to.
        oauth: admit bearer tokens, whose issuer, audience and expiry are checked but not their
            signature; Azurite does that over TLS only.

    Raises:
        RuntimeError: Azurite is not installed, or it does not come up.
    """
    if reason := missing():
        raise RuntimeError(reason)
    if oauth and not tls:
        raise ValueError("Azurite admits tokens over TLS only")
    node = shutil.which("node") or "node"
    (port,) = free_ports()
    with tempfile.TemporaryDirectory(prefix="forebay-azurite-") as directory:
        home = Path(directory)
        certificate = self_signed(home / "azurite.pem") if tls else None
        keys = [base64.b64encode(secrets.token_bytes(64)).decode() for _ in accounts]
        servers = [
            AzureServer(port, name, key, certificate) for name, key in zip(accounts, keys, strict=True)
        ]
        command = [node, str(_PROGRAM), "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        command += ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"]
        command += ["--cert", certificate, "--key", certificate] if certificate else []
        command += ["--oauth", "basic"] if oauth else []
        environment = {"AZURITE_ACCOUNTS": ";".join(f"{s.account}:{s.key}" for s in servers)}
        with running(command, log=home / "log", ready=lambda: _serves(servers[0]), environment=environment):
            yield servers


@contextlib.contextmanager
def azurite(account: str = "forebaytest", *, tls: bool = False, oauth: bool = False) -> Iterator[AzureServer]:
    """As `azurites`, with one account. Takes about 2 s."""
    with azurites([account], tls=tls, oauth=oauth) as (server,):
        yield server


def _serves(server: AzureServer) -> bool:
    """Whether it answers at all; a request without credentials is refused."""
    connection: http.client.HTTPConnection
    if server.certificate:
        context = ssl.create_default_context(cafile=server.certificate)
        connection = http.client.HTTPSConnection(*server.address, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(*server.address, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", f"/{server.account}?comp=list")
        return connection.getresponse().status in {400, 403}
