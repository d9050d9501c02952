"""The transport of a configuration, and the routes of a source: whom to trust, which proxies, which guard."""

from __future__ import annotations

from urllib.parse import urlsplit

from forebay._version import __version__
from forebay.config import MediaCacheConfig
from forebay.config.timetable import timetable
from forebay.errors import ConfigError
from forebay.sources.allowlist import is_public
from forebay.transport import Limits, Request, Route, Transport, TransportSettings
from forebay.transport.proxies import Proxies, Proxy
from forebay.transport.tls import TLS
from forebay.uri import shown

USER_AGENT = f"forebay/{__version__}"


def limits_of(config: MediaCacheConfig) -> Limits:
    """When a request is given up, as the settings say."""
    return Limits(
        connect_seconds=config.connect_timeout_seconds,
        idle_seconds=config.read_timeout_seconds,
        min_rate=config.min_rate_bytes,
        total_seconds=config.total_timeout_seconds,
    )


def transport_of(config: MediaCacheConfig) -> Transport:
    """The transport that the settings ask for; its threads start with the first request."""
    return Transport(
        TransportSettings(
            threads=min(config.num_workers, config.max_requests),
            max_requests=config.max_requests,
            memory_bytes=config.max_buffered_bytes,
            limits=limits_of(config),
            user_agent=USER_AGENT,
            rate=None if config.bwlimit is None else timetable(config.bwlimit).rate,
            request_limits=config.request_limits,
            shared_rate=None if config.volume_bwlimit is None else timetable(config.volume_bwlimit).rate,
            shared_request_limits=config.volume_request_limits,
        )
    )


class Routes:
    """The routes of one source, made once each, because requests that share one share prepared handles."""

    def __init__(self, tls: TLS, proxies: Proxies) -> None:
        self.tls = tls
        self.proxies = proxies
        self._routes: dict[tuple[Proxy | None, bool, bool], Route] = {}

    def to(self, url: str, *, decode: bool, guarded: bool = False) -> Route:
        """The route to a URL.

        Args:
            decode: whether to undo a Content-Encoding.
            guarded: whether only public addresses may be connected to.
        """
        key = (self.proxies.for_url(url), guarded, decode)
        route = self._routes.get(key)
        if route is None:
            made = Route(self.tls, key[0], is_public if guarded else None, decode=decode)
            route = self._routes.setdefault(key, made)
        return route

    def redirected(self, request: Request, url: str) -> Route:
        """The route to which a server redirects: the user chose its host, but no other one."""
        guarded = urlsplit(url).hostname != urlsplit(request.url).hostname
        return self.to(url, decode=request.route.decode, guarded=guarded or request.route.guard is not None)


def one_line(text: str | None, where: str) -> str | None:
    """A value of the environment or of a file, without blanks around it; ``None`` for an empty one.

    Raises:
        ConfigError: it has a blank or a control character within, which would break a request.
    """
    text = (text or "").strip()
    if not text:
        return None
    if " " in text or not (text.isascii() and text.isprintable()):
        raise ConfigError(f"{where} has a blank, a line end or a non-ASCII character in it; check its value")
    return text


def checked_endpoint(text: str | None, where: str) -> str | None:
    """The URL of a server, without a slash at its end; ``None`` for an empty one.

    Raises:
        ConfigError: it cannot be one; the message begins with ``where``.
    """
    endpoint = one_line(text, where)
    if endpoint is None:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"{where}={shown(endpoint)} must begin with http:// or https://")
    try:
        parts = urlsplit(endpoint)
        usable = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigError(f"{where}: {shown(endpoint)} is no http(s)://host:port with a port from 1 to 65535")
    return endpoint.rstrip("/")
