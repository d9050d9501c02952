"""TLS in front of a server that has none: it wants a certificate of each client."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

from typing_extensions import Self

from tests.servers.certificates import Authority

_TLS = b"\x16"


class TlsProxy:
    """Listens on a free port of 127.0.0.1 until it is closed.

    Args:
        port: of the server.
        authority: that has signed the certificates of the proxy and of its clients.
        plain: whether connections without TLS are passed on, too, as Sentinels make them to their master.

    Attributes:
        port: where it listens.
        clients: the names in the certificates of clients so far.
    """

    def __init__(self, port: int, authority: Authority, *, plain: bool = False) -> None:
        self._upstream = port
        self._plain = plain
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.signed("server"))
        self._context.load_verify_locations(authority.certificate)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])
        self.clients: list[str] = []
        threading.Thread(target=self._accept, name="tls-proxy", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if client.recv(1, socket.MSG_PEEK) == _TLS:
                with self._context.wrap_socket(client, server_side=True) as secured:
                    found = secured.getpeercert() or {}
                    subject = found.get("subject", ())
                    self.clients += [str(value) for part in subject for _, value in part]  # type: ignore[misc]
                    self._pass_on(secured)
            elif self._plain:
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._upstream)) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
