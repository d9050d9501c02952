"""AWS Signature Version 4 for the requests that libcurl does not sign.

libcurl signs what it can. It refuses where the path must stay as it is, which keys with ``.`` or ``..``
segments need; those are signed here, with the payload left out of the signature as TLS protects it.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from forebay.transport.transport_errors import Kind, TransportError

_DOTTED = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
_UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys that sign requests.

    Attributes:
        token: of temporary keys; an empty one counts as none.
        service: as AWS calls it.

    Raises:
        TransportError: one of them has a blank or a control character, which no real one has.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    service: str = "s3"

    def __post_init__(self) -> None:
        for name in ("access_key", "secret_key", "token", "region", "service"):
            text = getattr(self, name) or ""
            if not (text.isascii() and text.isprintable()) or " " in text:
                reason = f"the credentials' {name} has a blank, a line end or a non-ASCII character in it"
                raise TransportError(Kind.REQUEST, "", reason)


def has_dot_segments(url: str) -> bool:
    """Whether the path has a segment ``.`` or ``..``, plain or percent-encoded."""
    if "/." not in url and "/%2" not in url:
        return False
    return _DOTTED.search(url.partition("#")[0].partition("?")[0], url.find("://") + 3) is not None


def sign(
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    credentials: Credentials,
    *,
    now: float | None = None,
) -> list[tuple[str, str]]:
    """The headers to send: those given, and those of the signature.

    Args:
        now: the time in seconds since the epoch; by default this moment.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    rest = url.partition("#")[0].partition("://")[2]
    authority, path, query = _split(rest)
    sent = [*headers, ("x-amz-date", moment), ("x-amz-content-sha256", _UNSIGNED)]
    if credentials.token:
        sent.append(("x-amz-security-token", credentials.token))
    signed: dict[str, str] = {"host": _without_default_port(url, authority)}
    for spelled, value in sent:
        name, tidy = spelled.lower(), " ".join(value.split())
        signed[name] = f"{signed[name]},{tidy}" if name in signed else tidy
    names = ";".join(sorted(signed))
    lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
    canonical = "\n".join([method, _path(path), _query(query), *lines, "", names, _UNSIGNED])
    scope = f"{moment[:8]}/{credentials.region}/{credentials.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    key = _key(credentials.secret_key, moment[:8], credentials.region, credentials.service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    value = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
    return [*sent, ("Authorization", f"{value}Signature={signature}")]


def _split(rest: str) -> tuple[str, str, str]:
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    return authority, "/" + path, query


def _without_default_port(url: str, authority: str) -> str:
    port = ":443" if url.startswith("https:") else ":80"
    return authority.removesuffix(port)


def _path(path: str) -> str:
    """S3 wants the path encoded once, whatever of it the URL spells out."""
    return quote(unquote(path, errors="surrogateescape"), safe="/~", errors="surrogateescape")


def _query(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="~", errors="surrogateescape")


@functools.lru_cache(maxsize=16)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
