"""Callbacks by which libcurl asks whether it may connect to an address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pycurl

from forebay.transport.requests import Guard, origin_of
from forebay.transport.transport_errors import Kind, TransportError


def socket_opener(guard: Guard, refuse: Callable[[str], None]) -> Callable[..., Any]:
    """A function for libcurl's OPENSOCKETFUNCTION: opens sockets to addresses that the guard admits.

    Args:
        refuse: is told each address that it does not.
    """

    def open_socket(purpose: int, address: Any) -> Any:
        family, kind, protocol, place = address
        # The place of a socket in the file system has no host.
        host = place[0] if isinstance(place, tuple) else ""
        host = host.decode() if isinstance(host, bytes) else host
        if not host or not _admits(guard, host):
            refuse(host or "a local socket")
            return pycurl.SOCKET_BAD
        return socket.socket(family, kind, protocol)

    return open_socket


def connection_checker(guard: Guard, refuse: Callable[[str], None]) -> Callable[..., int]:
    """A function for libcurl's PREREQFUNCTION: refuses a connection that stands but leads where it may not.

    Connections are used again, also those that a request without a guard has opened.
    """

    def check(address: str, *rest: object) -> int:
        if _admits(guard, address):
            return int(pycurl.PREREQFUNC_OK)
        refuse(address)
        return int(pycurl.PREREQFUNC_ABORT)

    return check


def check_literal(guard: Guard, url: str) -> None:
    """Raises `TransportError` when a URL spells out an address that the guard does not admit.

    This is all that can be known of a host that a proxy connects to.
    """
    address = literal_address(origin_of(url).partition("://")[2])
    if address is not None and not _admits(guard, address):
        raise refused(url, address)


def refused(url: str, address: str) -> TransportError:
    """The error for an address that the guard does not admit."""
    return TransportError(
        Kind.REFUSED_ADDRESS, url, f"leads to the private address {address}, which is refused"
    )


def literal_address(authority: str) -> str | None:
    """The address that a host spells out, in whatever way: ``127.1``, ``2130706433``, ``[::1]``."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    name = authority.partition(":")[0].rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return socket.inet_ntoa(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


def _admits(guard: Guard, address: str) -> bool:
    # An exception inside a function that libcurl calls would be printed and lost.
    try:
        return guard(address)
    except Exception:
        return False
