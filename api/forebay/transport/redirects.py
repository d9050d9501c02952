"""Following redirects, one at a time. The transport itself follows none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, urljoin, urlsplit

from forebay.transport.heads import Head
from forebay.transport.requests import Request, Route, origin_of
from forebay.transport.transport_errors import Kind, TransportError

STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10
_SECRET = frozenset({"authorization", "cookie", "x-amz-security-token", "proxy-authorization"})
# What may stand in a Location as it is; servers send blanks and unicode, too.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


def redirected(request: Request, head: Head, check: Callable[[str], Route | None]) -> Request | None:
    """The request that follows an answer; ``None`` where the answer is no redirect.

    What is secret stays with its host: `Request.credentials` and the headers Authorization, Cookie and
    x-amz-security-token are dropped where the host or port changes.

    Args:
        check: is given the new URL; raises to refuse it; may give the route that leads there.

    Raises:
        TransportError: the redirect leads from https to http, or to no URL at all, or is the eleventh.
    """
    location = head.headers.all("location")
    if head.status not in STATUSES or not location:
        return None
    if request.hops >= MAX_REDIRECTS:
        raise TransportError(Kind.REDIRECT, request.url, f"more than {MAX_REDIRECTS} redirects")
    target = quote(location[0].encode("latin-1"), safe=_SAFE)
    try:
        url = urljoin(request.url, target).partition("#")[0]
        origin_of(url)
        former, following = _server(request.url), _server(url)
    except (ValueError, TransportError):
        reason = "the server redirects to something that is no http(s) URL"
        raise TransportError(Kind.REDIRECT, request.url, reason) from None
    if request.url.startswith("https:") and url.startswith("http:"):
        reason = "the server redirects from https to http, which is refused"
        raise TransportError(Kind.REDIRECT, request.url, reason)
    route = check(url)
    request = replace(request, url=url, route=route or request.route, hops=request.hops + 1)
    if following != former:
        kept = [(name, value) for name, value in request.headers if name.lower() not in _SECRET]
        request = replace(request, headers=kept, credentials=None)
    if head.status == 303 or (head.status in (301, 302) and request.method == "POST"):
        method = "HEAD" if request.method == "HEAD" else "GET"
        request = replace(request, method=method, body=b"")
    return request


def _server(url: str) -> tuple[str, int]:
    """Host and port. The ports of http and https count as one, as servers lead from one to the other."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}[parts.scheme]
    port = parts.port or default
    return (parts.hostname or "").rstrip("."), 443 if port == default else port
