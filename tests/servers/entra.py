"""Microsoft Entra, as far as an application's secret goes: behind a proxy, as its address is a fixed one."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

from tests.servers.certificates import self_signed

HOST = "login.microsoftonline.com"


@dataclass
class EntraServer:
    """A tenant with one application.

    Attributes:
        secret: the application's; every other one is refused as Entra does it, and repeated in the text.
        asked: the secrets that came.
    """

    port: int
    certificate: str
    secret: str
    asked: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """The variables that lead azure-identity here, and the application's name."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.port}",
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": self.certificate,
            "AZURE_CLIENT_ID": "11111111-1111-1111-1111-111111111111",
            "AZURE_TENANT_ID": "22222222-2222-2222-2222-222222222222",
        }


@contextlib.contextmanager
def entra(directory: Path, secret: str = "the-secret-that-is-right") -> Iterator[EntraServer]:
    """Starts it on a free port."""
    certificate = self_signed(directory / "entra.pem", HOST)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class Handler(_Handler):
        tls = context

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.entra = EntraServer(server.server_port, certificate, secret)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Handler.entra
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    entra: ClassVar[EntraServer]
    tls: ClassVar[ssl.SSLContext]

    def do_CONNECT(self) -> None:
        if self.path != f"{HOST}:443":
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        tenant = f"https://{HOST}/{self.path.split('/')[1]}"
        self._answer(
            200,
            {
                "tenant_discovery_endpoint": f"{tenant}/v2.0/.well-known/openid-configuration",
                "metadata": [{"preferred_network": HOST, "preferred_cache": HOST, "aliases": [HOST]}],
                "issuer": f"{tenant}/v2.0",
                "token_endpoint": f"{tenant}/oauth2/v2.0/token",
                "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
            },
        )

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        secret = form["client_secret"][0]
        self.entra.asked.append(secret)
        if secret == self.entra.secret:
            self._answer(200, {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})
            return
        text = f"AADSTS7000215: Invalid client secret provided: {secret}"
        self._answer(401, {"error": "invalid_client", "error_description": text, "error_codes": [7000215]})

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None: ...
