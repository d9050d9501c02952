"""Failures on the way to an answer, and the meaning of libcurl's codes."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import pycurl

from forebay.errors import ForebayError


class Kind(str, enum.Enum):
    """Why an exchange failed. The value is for logs and counters."""

    REQUEST = "request"  # the request itself cannot be sent: its URL, a header, a credential
    RESOLVE = "resolve"
    CONNECT = "connect"
    PROXY = "proxy"
    TLS = "tls"
    REFUSED_ADDRESS = "refused_address"
    TIMEOUT = "timeout"
    TOO_SLOW = "too_slow"
    LOST = "lost"  # the connection, before or while the answer arrived
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    PROTOCOL = "protocol"  # the answer breaks the rules of HTTP
    RANGE = "range"  # another range than the one asked for
    ENCODING = "encoding"
    REDIRECT = "redirect"
    REFUSED = "refused"  # the answer's status is not one of those that were asked for
    CANCELLED = "cancelled"
    CLOSED = "closed"  # the transport, before the answer was complete
    INTERNAL = "internal"


_TRANSIENT = frozenset(
    {
        Kind.RESOLVE,
        Kind.CONNECT,
        Kind.PROXY,
        Kind.TIMEOUT,
        Kind.TOO_SLOW,
        Kind.LOST,
        Kind.TRUNCATED,
        Kind.INTERNAL,
    }
)


class TransportError(ForebayError):
    """An exchange failed; the message says at which URL and why, without secrets.

    Attributes:
        kind: the reason, for programs.
        url: the URL without user, password, query string and fragment.
        reason: the message without the URL.
        transient: whether another attempt may succeed.
        timed_out: whether time ran out, on the way to the connection or later.
    """

    kind: Kind

    def __init__(
        self, kind: Kind, url: str, reason: str, *, transient: bool | None = None, timed_out: bool = False
    ) -> None:
        self.kind: Kind = kind
        self.url = redacted(url)
        self.reason = reason
        self.transient = kind in _TRANSIENT if transient is None else transient
        self.timed_out = timed_out or kind in (Kind.TIMEOUT, Kind.TOO_SLOW)
        super().__init__(f"{self.url}: {reason}" if url else reason)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuilt, (self.kind, self.url, self.reason, self.transient, self.timed_out)


def _rebuilt(kind: Kind, url: str, reason: str, transient: bool, timed_out: bool) -> TransportError:
    return TransportError(kind, url, reason, transient=transient, timed_out=timed_out)


def redacted(url: str) -> str:
    """A URL without what may be secret: user and password, query string, fragment.

    Characters that could disturb a terminal or a log are escaped.
    """
    base = url.partition("#")[0].partition("?")[0]
    scheme, separator, rest = base.partition("://")
    if separator:
        authority, slash, path = rest.partition("/")
        base = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    else:
        base = base.rpartition("@")[2]
    shown = base if len(base) <= 500 else base[:500] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]


_BUNDLE = (
    "the bundle of certificate authorities cannot be read; check the file that the setting, or the first set "
    "one of AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and SSL_CERT_FILE, names"
)
_CERTIFICATE = "the server's TLS certificate is not trusted"
_EARLY = "the connection was lost before the answer was complete"
# What a code means; the words take no part of the server's answer, which may repeat secrets.
_MEANINGS: Mapping[int, tuple[Kind, str]] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: (Kind.PROTOCOL, "the answer is not valid HTTP"),
    pycurl.E_URL_MALFORMAT: (Kind.REQUEST, "this is no valid URL"),
    pycurl.E_COULDNT_RESOLVE_HOST: (Kind.RESOLVE, "the host's name cannot be resolved"),
    pycurl.E_COULDNT_RESOLVE_PROXY: (Kind.PROXY, "the proxy's name cannot be resolved"),
    pycurl.E_COULDNT_CONNECT: (Kind.CONNECT, "cannot connect"),
    pycurl.E_FTP_WEIRD_SERVER_REPLY: (Kind.PROTOCOL, "the answer is not valid HTTP"),
    pycurl.E_HTTP2: (Kind.LOST, "the HTTP/2 connection broke"),
    92: (Kind.LOST, "the HTTP/2 stream was reset"),
    pycurl.E_PARTIAL_FILE: (Kind.TRUNCATED, "the answer ended early"),
    pycurl.E_OPERATION_TIMEDOUT: (Kind.TIMEOUT, "timed out"),
    pycurl.E_SSL_CONNECT_ERROR: (Kind.TLS, "no TLS connection can be agreed on"),
    pycurl.E_PEER_FAILED_VERIFICATION: (Kind.TLS, _CERTIFICATE),
    pycurl.E_SSL_CACERT_BADFILE: (Kind.TLS, _BUNDLE),
    pycurl.E_SSL_CERTPROBLEM: (Kind.TLS, "the client certificate cannot be used"),
    pycurl.E_SSL_CIPHER: (Kind.TLS, "no TLS cipher can be agreed on"),
    pycurl.E_SSL_ISSUER_ERROR: (Kind.TLS, _CERTIFICATE),
    pycurl.E_GOT_NOTHING: (Kind.LOST, "the server closed the connection without an answer"),
    pycurl.E_SEND_ERROR: (Kind.LOST, "the connection was lost while the request was sent"),
    pycurl.E_RECV_ERROR: (Kind.LOST, _EARLY),
    pycurl.E_BAD_CONTENT_ENCODING: (Kind.ENCODING, "the body is not encoded as its Content-Encoding says"),
    pycurl.E_FILESIZE_EXCEEDED: (Kind.TOO_LARGE, "the answer is larger than allowed"),
    100: (Kind.TOO_LARGE, "the answer's headers are larger than allowed"),
    97: (Kind.PROXY, "the proxy refuses the connection"),
}
# What may be the proxy's doing as well as the server's.
_THROUGH_PROXY = frozenset({Kind.TLS, Kind.LOST, Kind.TIMEOUT, Kind.PROTOCOL, Kind.TRUNCATED, Kind.TOO_LARGE})
# libcurl says these with a code that also means other things. The texts are its own, not the server's.
_HEADERS_TOO_LARGE = ("Too large response header", "Too many response headers", "header too long")
_TUNNEL = ("CONNECT tunnel", "Proxy CONNECT", "SOCKS", "proxy")


def failure_of(code: int, text: str, url: str, *, proxy: str = "", connected: bool = True) -> TransportError:
    """The error for a transfer that libcurl ended.

    Args:
        code: libcurl's ``CURLcode``.
        text: libcurl's message, which may quote the server and is only searched, never shown.
        url: the request's URL.
        proxy: the proxy that was used, without its password; empty where none was.
        connected: whether the connection stood; tells a slow server from one that does not answer.
    """
    kind, words = _MEANINGS.get(code, (Kind.INTERNAL, f"libcurl gave up with its code {code}"))
    late = code == pycurl.E_OPERATION_TIMEDOUT
    if any(mark in text for mark in _HEADERS_TOO_LARGE):
        kind, words = Kind.TOO_LARGE, "the answer's headers are larger than allowed"
    elif kind is Kind.LOST and "chunk" in text:
        kind, words = Kind.TRUNCATED, "the answer ended early: its chunks are broken"
    elif late and not connected:
        kind, words = Kind.TIMEOUT, "timed out: cannot connect"
    if proxy and _is_of_proxy(kind, code, text, connected):
        return refusing_proxy(url, proxy, _tunnel_status(text), timed_out=late)
    if proxy and kind in _THROUGH_PROXY:
        # Whose fault it is, libcurl does not know either.
        words = f"{words} (through the proxy {proxy})"
    remedies = {
        Kind.TLS: "; set AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE to the authority that signed it"
        if words.startswith(_CERTIFICATE)
        else "",
        Kind.CONNECT: "; check the host, the port and the network",
        Kind.RESOLVE: "; check its spelling and the network",
    }
    return TransportError(kind, url, words + remedies.get(kind, ""), timed_out=late)


def refusing_proxy(url: str, proxy: str, status: str, *, timed_out: bool = False) -> TransportError:
    """The error for a proxy that cannot be reached or refuses.

    Args:
        proxy: its URL without its password.
        status: of its answer; empty where there is none.
    """
    answer = f" (it answers {status})" if status else ""
    words = f"the proxy {proxy} cannot be reached or refuses{answer}; check the proxy settings"
    return TransportError(Kind.PROXY, url, words, timed_out=timed_out)


def _is_of_proxy(kind: Kind, code: int, text: str, connected: bool) -> bool:
    if kind in (Kind.CONNECT, Kind.PROXY) or (code == pycurl.E_OPERATION_TIMEDOUT and not connected):
        return True
    return (not connected and kind is Kind.LOST) or any(mark in text for mark in _TUNNEL)


def _tunnel_status(text: str) -> str:
    status = text.rpartition("response ")[2][:3] if "CONNECT tunnel failed" in text else ""
    return status if status.isdecimal() else ""
