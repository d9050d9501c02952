"""The allowlist of URIs that may be fetched, and the check that an IP address is public."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from forebay.errors import ConfigError, SourceNotAllowedError
from forebay.transport.guard import literal_address
from forebay.uri import REMOTE_SCHEMES, MediaURI, shown
from forebay.uri.aliases import canonical

__all__ = ["Allowlist", "is_public", "literal_address", "refuse_private"]

_PREFIX = re.compile(r"([A-Za-z0-9+.-]+)://([^/]*)/?(.*)\Z", re.DOTALL)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_DOT = re.compile(r"%2e", re.IGNORECASE)
# The NAT64 prefix and the prefix of the old "IPv4-compatible" addresses carry an IPv4 address at their end.
_CARRIERS = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))


@dataclass(frozen=True)
class _Rule:
    scheme: str
    host: str
    path: str

    def admits(self, uri: MediaURI) -> bool:
        if self.scheme != uri.scheme or (self.host and self.host != uri.bucket):
            return False
        if not self.path:
            return True
        # A server may resolve `..` in the path before it looks, so both readings must be inside.
        return self._holds(_resolve(uri.key)) and (uri.is_url or self._holds(uri.key))

    def _holds(self, path: str) -> bool:
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


class Allowlist:
    """The setting ``allowed_sources``.

    Each prefix ends at a boundary: ``s3://bucket`` does not admit ``s3://bucket2``, nor
    ``https://host/pub`` the URL ``https://host/public/x``.

    Raises:
        ConfigError: a prefix has no scheme that can be fetched, or a path without a host or bucket.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self._prefixes = list(prefixes)
        self._rules = [_parse(prefix) for prefix in prefixes]
        self._open_schemes = {rule.scheme for rule in self._rules if not rule.host}

    def check(self, uri: MediaURI) -> None:
        """Checks a URI before it is fetched.

        Raises:
            SourceNotAllowedError: no prefix admits it.
        """
        if uri.scheme not in self._open_schemes and not any(rule.admits(uri) for rule in self._rules):
            allowed = ", ".join(self._prefixes) or "nothing"
            raise SourceNotAllowedError(
                uri.redacted, f"not in the setting allowed_sources, which allows {allowed}"
            )

    def trusts(self, uri: MediaURI) -> bool:
        """Whether a prefix names the very host of a URL, so that it may have a private address."""
        return any(rule.host and rule.admits(uri) for rule in self._rules)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet.

    Loopback, link-local, private, shared, multicast, unspecified and reserved addresses are not, nor
    is an IPv6 address that carries such an IPv4 address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        carried = _carried(ip)
        if carried is not None:
            return is_public(str(carried))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified or ip.is_private)


def refuse_private(uri: MediaURI, address: str) -> SourceNotAllowedError:
    """The error for a URL whose host has an address that is not public."""
    example = f"{uri.scheme}://{uri.bucket}/"
    return SourceNotAllowedError(
        uri.redacted,
        f"leads to the private address {address}; if it should, add {example} to allowed_sources",
    )


def _carried(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if any(ip in network for network in _CARRIERS) and int(ip) > 1:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


def _parse(prefix: str) -> _Rule:
    match = _PREFIX.match(prefix)
    scheme = canonical(match[1].lower()) if match else ""
    if match is None or scheme not in REMOTE_SCHEMES:
        known = ", ".join(f"{name}://" for name in REMOTE_SCHEMES)
        raise _error(prefix, f"must begin with one of {known}")
    host = match[2]
    if scheme in _DEFAULT_PORTS:
        host = host.lower().removesuffix(_DEFAULT_PORTS[scheme])
    if not host and match[3]:
        raise _error(prefix, "names a path but no host or bucket")
    return _Rule(scheme, host, match[3])


def _error(prefix: str, problem: str) -> ConfigError:
    name = "allowed_sources"
    return ConfigError(f"setting {name}: {shown(prefix)} {problem}", setting=name)


def _resolve(path: str) -> str:
    """``path`` without ``.`` and ``..`` segments, however they are spelled."""
    resolved: list[str] = []
    for segment in path.split("/"):
        plain = _DOT.sub(".", segment)
        if plain == "..":
            del resolved[-1:]
        elif plain != ".":
            resolved.append(segment)
    return "/".join(resolved)
