"""AWS Signature Version 4.

libcurl could sign, too. It does not where a path must stay as it is, which keys with ``.`` or ``..`` segments
need, and it takes four times as many instructions: it derives the key of the day anew for each request.
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

_NO_PAYLOAD = hashlib.sha256(b"").hexdigest()
# A path that is encoded already, and in the only possible way.
_TIDY_PATH = re.compile(r"[A-Za-z0-9_.~/-]*")


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


def sign(
    method: str,
    url: str,
    headers: Sequence[tuple[str, str]],
    credentials: Credentials,
    *,
    body: bytes = b"",
    now: float | None = None,
) -> list[str]:
    """The lines to send beside the headers of a request, those of its signature.

    Every header is signed but User-Agent, which proxies change.

    Args:
        body: what is sent along.
        now: the time in seconds since the epoch; by default this moment.
    """
    moment = _moment(int(time.time() if now is None else now))
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("#")[0].partition("/")
    path, _, query = path.partition("?")
    # The default port is no part of the header Host.
    host = authority.removesuffix(":443" if scheme == "https" else ":80")
    payload = hashlib.sha256(body).hexdigest() if body else _NO_PAYLOAD
    own = [f"x-amz-content-sha256:{payload}", f"x-amz-date:{moment}"]
    names = "host;x-amz-content-sha256;x-amz-date"
    if credentials.token:
        own.append(f"x-amz-security-token:{credentials.token}")
        names += ";x-amz-security-token"
    lines = [f"host:{host}", *own]
    if headers:
        names, lines = _signed(lines, headers)
    if not _TIDY_PATH.fullmatch(path):
        # S3 wants it encoded once, whatever of it the URL spells out.
        path = quote(unquote(path, errors="surrogateescape"), safe="/~", errors="surrogateescape")
    if query:
        query = _ordered(query)
    canonical = "\n".join([method, f"/{path}", query, *lines, "", names, payload])
    scope = f"{moment[:8]}/{credentials.region}/{credentials.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"
    key = _key(credentials.secret_key, moment[:8], credentials.region, credentials.service)
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    own.append(
        f"Authorization:AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return own


@functools.lru_cache(maxsize=16)
def _moment(now: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))


def _signed(own: list[str], headers: Sequence[tuple[str, str]]) -> tuple[str, list[str]]:
    """The names of all headers that are signed, and their lines."""
    found = {name: value for name, _, value in (line.partition(":") for line in own)}
    for spelled, value in headers:
        name, tidy = spelled.lower(), " ".join(value.split())
        if name != "user-agent":
            found[name] = f"{found[name]},{tidy}" if name in found else tidy
    return ";".join(sorted(found)), [f"{name}:{found[name]}" for name in sorted(found)]


def _ordered(query: str) -> str:
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join(sorted(f"{_encoded(name)}={_encoded(value)}" for name, value in pairs))


def _encoded(text: str) -> str:
    return quote(unquote(text, errors="surrogateescape"), safe="~", errors="surrogateescape")


@functools.lru_cache(maxsize=16)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
