"""Connections that go to public addresses only.

The check is made on the address that is then connected to, so a name that resolves to something else
a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util import connection

from forebay.sources.allowlist import is_public


class PrivateAddressError(Exception):
    """A host has no public address. (No `OSError`, which urllib3 would take for a network failure.)"""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class _Guarded(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"cannot find the host: {error}") from error
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        public = [address for address in addresses if is_public(address)]
        if not public:
            raise PrivateAddressError(addresses[0])
        failure: OSError | None = None
        for address in public:
            try:
                return connection.create_connection(
                    (address, self.port or self.default_port),
                    self.timeout,
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"no answer from {self.host}") from failure
        raise NewConnectionError(self, f"cannot connect: {failure}") from failure


class _GuardedTLS(_Guarded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


class GuardedAdapter(HTTPAdapter):
    """An adapter of requests whose connections are made to public addresses only.

    A connection to a proxy that the user configured is not checked: the proxy then decides.
    """

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, **keywords)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}
