"""Which proxy leads to a URL. This is the one place that reads the environment for it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from forebay.errors import ConfigError

SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_CONTROL = re.compile("%(?:[01][0-9a-f]|7f)", re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        url: with user and password, as libcurl takes it.
        shown: without them, for messages.
    """

    url: str = field(repr=False)
    shown: str


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of a process.

    Attributes:
        fixed: what settings say, by ``http``, ``https``, ``all`` or a beginning such as ``https://host``;
            ``None`` stands for the direct way.
        by_scheme: what the environment says, by ``http``, ``https`` or ``all``.
        exceptions: hosts that are reached directly in spite of ``by_scheme``.
    """

    fixed: Mapping[str, Proxy | None] = field(default_factory=dict)
    by_scheme: Mapping[str, Proxy] = field(default_factory=dict)
    exceptions: tuple[str, ...] = ()

    def for_url(self, url: str) -> Proxy | None:
        """The proxy that leads to a URL; ``None`` where the way is direct."""
        if not (self.fixed or self.by_scheme):
            return None
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        if self.fixed:
            host = rest.partition("/")[0].partition(":")[0].lower()
            for key in (f"{scheme}://{host}", f"all://{host}", scheme, "all"):
                if key in self.fixed:
                    return self.fixed[key]
        proxy = self.by_scheme.get(scheme) or self.by_scheme.get("all")
        if proxy is None or (self.exceptions and _is_exempt(url, self.exceptions)):
            return None
        return proxy


def proxies_from(
    environment: Mapping[str, str],
    *,
    settings: Mapping[str, str | None] | None = None,
    setting: str = "setting proxies",
) -> Proxies:
    """The proxies that settings and environment name.

    Variables are read as curl and requests read them: in lower case first, and ``HTTP_PROXY`` in upper
    case not in a CGI script, where a client could set it.

    Args:
        settings: as requests takes them. They count before the environment, NO_PROXY is not for them,
            and an empty one means the direct way. ``no_proxy`` among them replaces NO_PROXY.
        setting: what to call them in messages.

    Raises:
        ConfigError: a proxy's URL cannot be used; names the variable, and no password.
    """
    found: dict[str, Proxy] = {}
    for scheme in ("http", "https", "all"):
        names = [f"{scheme}_proxy", f"{scheme}_proxy".upper()]
        if scheme == "http" and "REQUEST_METHOD" in environment:
            names.pop()
        # An empty one in lower case hides the one in upper case.
        name = next((name for name in names if name in environment), "")
        if text := environment.get(name, "").strip():
            found[scheme] = _proxy(text, f"environment variable {name}")
    fixed = {
        key.lower(): _proxy(text, setting) if text else None
        for key, text in (settings or {}).items()
        if key != "no_proxy"
    }
    spelled = (settings or {}).get("no_proxy")
    if spelled is None:
        spelled = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    return Proxies(fixed, found, tuple(filter(None, re.split(r"[,\s]+", spelled.lower()))))


def _proxy(text: str, where: str) -> Proxy:
    if re.match(f"(?:{'|'.join(SCHEMES)}):?/(?!/)", text, re.IGNORECASE):
        raise ConfigError(f"{where}: the proxy's URL must begin as http://")
    url = text if "://" in text else f"http://{text}"
    scheme = url.partition("://")[0].lower()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ConfigError(f"{where}: the proxy's URL has a blank, a line end or a non-ASCII character in it")
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ConfigError(f"{where}: {scheme}:// is no kind of proxy; known are {known}")
    if _CONTROL.search(parts.netloc.rpartition("@")[0]):
        raise ConfigError(f"{where}: the proxy's user or password has an encoded control character in it")
    if not host or port == 0:
        raise ConfigError(f"{where}: the proxy's URL has no host, or a port that is none from 1 to 65535")
    return Proxy(f"{scheme}://{parts.netloc}", shown)


def _is_exempt(url: str, exceptions: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return False
    return any(_matches(entry, host, port) for entry in exceptions)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    name, wanted = _port_of(entry)
    if not name or (wanted is not None and wanted != port):
        return False
    address = _address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name, strict=False)
        except ValueError:
            return name == host
    suffix = name.removeprefix("*").strip(".")
    return bool(suffix) and (host == suffix or host.endswith("." + suffix))


def _port_of(entry: str) -> tuple[str, int | None]:
    """An entry without its port, and the port; no name where the port is none, so that it is for no host."""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        port = port.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        name, port = entry, ""
    if not port:
        return name, None
    return (name, int(port)) if port.isascii() and port.isdigit() and len(port) < 6 else ("", None)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
