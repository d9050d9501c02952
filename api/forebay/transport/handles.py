"""Easy handles of libcurl, and what is set on them once for many requests."""

from __future__ import annotations

import re
from collections.abc import Callable

import pycurl

from forebay.transport.guard import connection_checker, socket_opener
from forebay.transport.requests import Request, Route
from forebay.transport.settings import TransportSettings
from forebay.transport.transport_errors import Kind, TransportError

# libcurl's number; pycurl has no name for it.
_SUPPRESS_CONNECT_HEADERS = 265
_LINE = re.compile(r"[!-9;-~]+(?:: [ -~]+|;)")


def prepare(
    curl: pycurl.Curl, route: Route, settings: TransportSettings, refuse: Callable[[str], None]
) -> None:
    """Makes a handle ready for the requests of a route, whatever it was used for before.

    Args:
        refuse: is told the addresses that the route's guard does not admit.
    """
    curl.reset()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.HTTP09_ALLOWED, 0)
    curl.setopt(pycurl.FOLLOWLOCATION, 0)
    curl.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
    curl.setopt(pycurl.BUFFERSIZE, 256 << 10)
    curl.setopt(pycurl.TCP_KEEPALIVE, 1)
    curl.setopt(pycurl.USERAGENT, settings.user_agent)
    curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
    version = pycurl.CURL_HTTP_VERSION_2TLS if route.http2 else pycurl.CURL_HTTP_VERSION_1_1
    curl.setopt(pycurl.HTTP_VERSION, version)
    if route.http2:
        curl.setopt(pycurl.PIPEWAIT, 1)
    curl.setopt(pycurl.PATH_AS_IS, 1)
    _set_tls(curl, route)
    _set_way(curl, route, refuse)


def set_method(curl: pycurl.Curl, request: Request) -> None:
    """Sets a method other than GET, after which the handle must be prepared anew."""
    if request.method == "HEAD":
        curl.setopt(pycurl.NOBODY, 1)
        return
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDS, request.body)
    curl.setopt(pycurl.CUSTOMREQUEST, request.method)


def header_line(name: str, value: str) -> str:
    """A header as libcurl takes it.

    Raises:
        ValueError: it would break the request apart.
    """
    line = f"{name}: {value}" if value else f"{name};"
    if not _LINE.fullmatch(line):
        raise ValueError("a header with a line end, a control character or a non-ASCII one")
    return line


def refusal(url: str, status: int) -> TransportError:
    """The error for an answer whose status is not accepted."""
    transient = status in (408, 425, 429) or (status >= 500 and status not in (501, 505))
    return TransportError(Kind.REFUSED, url, f"the server answers {status}", transient=transient)


def _set_tls(curl: pycurl.Curl, route: Route) -> None:
    tls = route.tls
    curl.setopt(pycurl.SSL_VERIFYPEER, int(tls.verify))
    curl.setopt(pycurl.SSL_VERIFYHOST, 2 if tls.verify else 0)
    curl.setopt(pycurl.PROXY_SSL_VERIFYPEER, int(tls.verify))
    curl.setopt(pycurl.PROXY_SSL_VERIFYHOST, 2 if tls.verify else 0)
    for option, place in (
        (pycurl.CAINFO, tls.bundle),
        (pycurl.CAPATH, tls.directory),
        (pycurl.PROXY_CAINFO, tls.bundle),
        (pycurl.PROXY_CAPATH, tls.directory),
    ):
        # Unset, too: what libcurl was built to trust is not asked for.
        if place is None:
            curl.unsetopt(option)
        else:
            curl.setopt(option, place)
    if tls.certificate is not None:
        curl.setopt(pycurl.SSLCERT, tls.certificate)
        curl.setopt(pycurl.SSLKEY, tls.key or tls.certificate)


def _set_way(curl: pycurl.Curl, route: Route, refuse: Callable[[str], None]) -> None:
    # Set in any case, else libcurl reads the environment.
    curl.setopt(pycurl.NOPROXY, "")
    curl.setopt(pycurl.PROXY, route.proxy.url if route.proxy is not None else "")
    if route.guard is not None and route.proxy is None:
        curl.setopt(pycurl.OPENSOCKETFUNCTION, socket_opener(route.guard, refuse))
        curl.setopt(pycurl.PREREQFUNCTION, connection_checker(route.guard, refuse))
