"""``http://`` and ``https://``: public URLs, signed ones, and those that a password opens.

Each target of a redirect must be allowed as if it had been asked for, and credentials stay with the host
that they were meant for.

``extra_client_kwargs["http"]`` may have ``headers``, ``auth`` (user and password), ``verify``, ``cert``
and ``proxies``, as requests takes them. ``~/.netrc`` and the proxy variables of the environment count.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit

from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceError, SourceNotAllowedError, UriError
from forebay.sources import answers, failures
from forebay.sources.allowlist import Allowlist, is_public, literal_address, refuse_private
from forebay.sources.asking import conditions, follow_redirect
from forebay.sources.base import ObjectInfo, Page, PageQuery
from forebay.sources.client_words import check_words, mapping, own_copy, trust
from forebay.sources.reader import WHOLE, WHOLE_OR_PART, Reader
from forebay.sources.routes import Routes, limits_of, transport_of
from forebay.transport import Head, Outcome, Request, Route, Transport
from forebay.transport.passwords import basic, login_of
from forebay.transport.proxies import proxies_from
from forebay.transport.tls import tls_from
from forebay.uri import MediaURI, parse

_OPTIONS = frozenset({"headers", "auth", "verify", "cert", "proxies"})
_HOST = re.compile(r"[^\x00-\x20\x7f/\\?#@%:\[\]]+(?::\d+)?|\[[0-9a-fA-F:.]+\](?::\d+)?")
# Servers that refuse HEAD say so in many ways; a URL signed for GET gives 403.
_NO_HEAD = frozenset({400, 403, 405, 501})
# URLs are sent as they are written, but for what HTTP cannot carry.
_SAFE = "!#$%&'()*+,/:;=?@[]~\"<>\\^`{|}"
_COOKIE = re.compile(r"\s*([!-:<>-~]+=[!-:<-~]*)")


@dataclass(slots=True)
class _WebRequest(Request):
    """A request, with the cookies that were set on the way to it, by host. Some log-ins are made of them."""

    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)


class HTTPSource(Reader):
    """The source of ``http://`` and ``https://`` URLs.

    Args:
        allowlist: checks every redirect; the caller has checked the first URL.
        transport: moves the bytes; by default one of its own.

    Raises:
        ConfigError: an option of ``extra_client_kwargs["http"]`` is unknown, or cannot be used.
    """

    def __init__(
        self, config: MediaCacheConfig, allowlist: Allowlist, transport: Transport | None = None
    ) -> None:
        super().__init__(transport or transport_of(config))
        options = own_copy(config, "http")
        check_words(options, _OPTIONS, "http")
        where = "setting extra_client_kwargs, 'http'"
        self._private = [*mapping(options, "headers", "http", texts=True).items()]
        if auth := options.get("auth"):
            if not isinstance(auth, (list, tuple)) or len(auth) != 2:
                raise ConfigError(
                    f"{where}: auth must be a pair of user and password", setting="extra_client_kwargs"
                )
            self._private.append(("Authorization", basic(*map(str, auth))))
        self._limits = limits_of(config)
        self._logins: dict[str, Sequence[tuple[str, str]]] = {}
        self._allowlist = allowlist
        self._routes = Routes(
            tls_from(
                os.environ, verify=trust(options, "verify", "http"), cert=options.get("cert"), setting=where
            ),
            proxies_from(
                os.environ,
                settings=mapping(options, "proxies", "http", texts=True),
                setting=f"{where}: proxies",
            ),
        )

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        url = _url(uri)
        given = [*conditions(span, etag, if_none_match, if_modified_since), *self._private]
        if user := _user(uri):
            given = [pair for pair in given if pair[0].lower() != "authorization"]
            given.append(("Authorization", basic(*user)))
        names = {name.lower() for name, _ in given}
        if "accept-encoding" not in names:
            # What comes encoded in spite of this is decoded.
            given.append(("Accept-Encoding", "identity"))
        if "authorization" not in names:
            given += self._login(url)
        return _WebRequest(
            url,
            headers=given,
            route=self._route(uri, url, decode=not answers.keeps_encoding(uri)),
            limits=self._limits,
            accept=WHOLE if span is None else WHOLE_OR_PART,
        )

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        ranges = head.status == 206 or (head.headers.get("accept-ranges") or "").lower() == "bytes"
        return answers.describe(uri, head, md5=answers.md5_of(head), ranges=ranges)

    def request_head(self, uri: MediaURI) -> Request | None:
        return None

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        following = follow_redirect(uri, request, outcome, lambda url: self._redirected(uri, request, url))
        if not isinstance(following, _WebRequest) or outcome.head is None:
            return following
        cookies, former, host = dict(following.cookies), request.origin, following.origin
        for line in outcome.head.headers.all("set-cookie"):
            if (match := _COOKIE.match(line)) is not None:
                cookies[former] = "; ".join(filter(None, (cookies.get(former), match[1])))
        headers = list(following.headers)
        if host != former:
            # What the settings send is meant for the host that was asked first.
            private = {name.lower() for name, _ in self._private}
            headers = [pair for pair in headers if pair[0].lower() not in private]
            headers += self._login(following.url)
        if host in cookies:
            headers = [pair for pair in headers if pair[0].lower() != "cookie"]
            headers.append(("Cookie", cookies[host]))
        return replace(following, headers=headers, cookies=cookies)

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return failures.failure_of(uri, outcome, credentials=self._description(uri))

    def head(self, uri: MediaURI) -> ObjectInfo:
        try:
            return super().head(uri)
        except SourceError as error:
            if error.status not in _NO_HEAD:
                raise
        return self.read_start(uri, 1).info

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Raises `SourceError`: a web server has no list of its URLs."""
        raise _unlistable(prefix)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        """Raises `SourceError`: as `list`."""
        raise _unlistable(prefix)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        """The URL itself."""
        return uri.raw

    def explain(self, uri: MediaURI) -> str:
        return f"{self._description(uri)}; at {uri.scheme}://{uri.bucket}"

    def _description(self, uri: MediaURI) -> str:
        if uri.query or _user(uri):
            return "the URL's own credentials"
        names = {name.lower() for name, _ in self._private}
        if "authorization" in names:
            return "the credentials in extra_client_kwargs, 'http'"
        return "the login in ~/.netrc" if self._login(_url(uri)) else "no credentials"

    def containers(self) -> Sequence[str]:
        """Raises `SourceError`: a web server has no buckets."""
        raise SourceError("http://", "web servers have no buckets")

    def _login(self, url: str) -> Sequence[tuple[str, str]]:
        """The login of a URL's host, if ``~/.netrc`` has one, which is read once for each host."""
        host = urlsplit(url).hostname or ""
        found = self._logins.get(host)
        if found is None:
            login = login_of(host, os.environ)
            found = self._logins[host] = () if login is None else (("Authorization", basic(*login)),)
        return found

    def _redirected(self, uri: MediaURI, request: Request, url: str) -> Route:
        try:
            following = parse(url)
        except (UriError, ValueError):
            raise SourceError(
                uri.redacted, "the server redirects to something that is no http(s) URL"
            ) from None
        try:
            self._allowlist.check(following)
        except SourceNotAllowedError as error:
            raise SourceNotAllowedError(uri.redacted, f"the server redirects to {error}") from None
        return self._route(following, url, decode=request.route.decode)

    def _route(self, target: MediaURI, url: str, *, decode: bool) -> Route:
        """The way to a host of any address, or to one that must have a public address."""
        if not _HOST.fullmatch(target.bucket):
            raise SourceError(target.redacted, f"{target.bucket!r} is not the name of a host")
        trusted = self._allowlist.trusts(target)
        if not trusted:
            # The transport checks the addresses that it connects to, but not those that a proxy connects to.
            address = literal_address(target.bucket)
            if address is not None and not is_public(address):
                raise refuse_private(target, address)
        return self._routes.to(url, decode=decode, guarded=not trusted)


def _unlistable(prefix: MediaURI) -> SourceError:
    return SourceError(prefix.redacted, "URLs cannot be listed; name them one by one, or use a bucket")


def _url(uri: MediaURI) -> str:
    """The URL without the parts that are not for the server, put together from what was checked."""
    host = uri.bucket if uri.bucket.isascii() else _idna(uri)
    query = f"?{uri.query}" if uri.query else ""
    return f"{uri.scheme}://{host}/" + quote(f"{uri.key}{query}", safe=_SAFE)


def _idna(uri: MediaURI) -> str:
    name, colon, port = uri.bucket.partition(":")
    try:
        return name.encode("idna").decode() + colon + port
    except UnicodeError:
        raise SourceError(uri.redacted, f"{uri.bucket!r} is not the name of a host") from None


def _user(uri: MediaURI) -> tuple[str, str] | None:
    if "@" not in uri.raw:
        return None
    parts = urlsplit(uri.raw)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")
