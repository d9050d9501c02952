"""``http://`` and ``https://``: public URLs, signed ones, and those that a password opens.

Redirects are followed here, one at a time, because each target must be allowed as if it had been
asked for, and because credentials stay with the host that they were meant for.

``extra_client_kwargs["http"]`` may have ``headers``, ``auth`` (user and password), ``verify``, ``cert``
and ``proxies``, as requests takes them. ``~/.netrc`` and the proxy variables of the environment count.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from forebay._version import __version__
from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, SourceError, SourceNotAllowedError, UriError
from forebay.sources import failures, web
from forebay.sources.allowlist import Allowlist, is_public, literal_address, refuse_private
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream
from forebay.sources.listings import Page, PageQuery
from forebay.sources.per_process import PerProcess
from forebay.uri import MediaURI, parse

if TYPE_CHECKING:
    from requests import Response, Session
    from requests.cookies import RequestsCookieJar

# requests is imported in the functions that need it: it takes 100 ms, and no fork may happen meanwhile.
_MAX_REDIRECTS = 10
_OPTIONS = frozenset({"headers", "auth", "verify", "cert", "proxies"})
_HOST = re.compile(r"[^\x00-\x20\x7f/\\?#@%:\[\]]+(?::\d+)?|\[[0-9a-fA-F:.]+\](?::\d+)?")
# Servers that refuse HEAD say so in many ways; a URL signed for GET gives 403.
_NO_HEAD = frozenset({400, 403, 405, 501})


class HTTPSource:
    """The source of ``http://`` and ``https://`` URLs.

    Args:
        allowlist: checks every redirect; the caller has checked the first URL.

    Raises:
        ConfigError: an option of ``extra_client_kwargs["http"]`` is unknown.
    """

    def __init__(self, config: MediaCacheConfig, allowlist: Allowlist) -> None:
        self._options = dict(config.extra_client_kwargs.get("http", {}))
        if unknown := sorted(set(self._options) - _OPTIONS):
            known = ", ".join(sorted(_OPTIONS))
            raise ConfigError(f"setting extra_client_kwargs: 'http' has no {unknown[0]!r}; known are {known}")
        self._timeout = (config.connect_timeout_seconds, config.read_timeout_seconds)
        self._allowlist = allowlist
        self._sessions = PerProcess(_no_sessions)

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        headers = {}
        if if_none_match is not None:
            headers["If-None-Match"] = if_none_match
        elif if_modified_since is not None:
            headers["If-Modified-Since"] = formatdate(if_modified_since, usegmt=True)
        response = self._request("GET", uri, headers)
        if response.status_code != 200:
            raise self._refusal(uri, response)
        opened = web.WebObject(uri, response)
        if if_none_match is not None and opened.info.etag == if_none_match:
            # A server that does not know conditional requests sends the object again.
            opened.close()
            raise failures.refusal(uri, 304)
        return opened

    def head(self, uri: MediaURI) -> ObjectInfo:
        response = self._request("HEAD", uri, {})
        response.close()
        if response.status_code in _NO_HEAD:
            response = self._request("GET", uri, {"Range": "bytes=0-0"})
            response.close()
        info = web.describe(uri, response)
        is_empty = response.status_code == 416 and info.size == 0  # it has no first byte
        if response.status_code not in (200, 206) and not is_empty:
            raise self._refusal(uri, response)
        return info

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        if start >= end:
            return b""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if etag is not None and not etag.startswith("W/"):
            headers["If-Range"] = etag
        response = self._request("GET", uri, headers)
        if response.status_code == 416:
            response.close()
            return b""
        if response.status_code not in (200, 206):
            raise self._refusal(uri, response)
        return web.read_part(uri, response, start, end, etag)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        response = self._request("GET", uri, {"Range": f"bytes=0-{size - 1}"})
        if response.status_code == 416:
            response.close()
            return Beginning(self.head(uri), b"")
        if response.status_code not in (200, 206):
            raise self._refusal(uri, response)
        return web.read_start(uri, response, size)

    def list(self, prefix: MediaURI, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Raises `SourceError`: a web server has no list of its URLs."""
        raise SourceError(prefix.redacted, "URLs cannot be listed; name them one by one, or use a bucket")

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        """Raises `SourceError`: as `list`."""
        raise SourceError(prefix.redacted, "URLs cannot be listed; name them one by one, or use a bucket")

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        """The URL itself."""
        return uri.raw

    def containers(self) -> Sequence[str]:
        """Raises `SourceError`: a web server has no buckets."""
        raise SourceError("http://", "web servers have no buckets")

    def _request(self, method: str, uri: MediaURI, headers: Mapping[str, str]) -> Response:
        """The first answer that is not a redirect."""
        target, auth = uri, _user(uri) or self._auth()
        private = {**headers, **self._options.get("headers", {})}
        cookies: RequestsCookieJar | None = None
        for _ in range(_MAX_REDIRECTS + 1):
            session = self._session(target)
            session.cookies.clear()
            try:
                response = session.request(
                    method,
                    _url(target),
                    headers=private,
                    auth=auth,
                    cookies=cookies,
                    timeout=self._timeout,
                    allow_redirects=False,
                    stream=True,
                )
            except Exception as error:
                raise self._failure(uri, target, error) from None
            location = session.get_redirect_target(response)
            if location is None:
                return response
            response.close()
            cookies = _kept(cookies, response)
            following = self._follow(uri, target, location)
            if (following.scheme, following.bucket) != (target.scheme, target.bucket):
                auth, private = None, dict(headers)
            auth = _user(following) or auth
            target = following
        raise SourceError(uri.redacted, f"more than {_MAX_REDIRECTS} redirects")

    def _follow(self, uri: MediaURI, target: MediaURI, location: str) -> MediaURI:
        try:
            following = parse(urljoin(_url(target), location))
        except (UriError, ValueError):
            raise SourceError(
                uri.redacted, "the server redirects to something that is no http(s) URL"
            ) from None
        if not following.is_url:
            raise SourceNotAllowedError(
                uri.redacted, f"the server redirects to {following.scheme}://, which is refused"
            )
        try:
            self._allowlist.check(following)
        except SourceNotAllowedError as error:
            raise SourceNotAllowedError(uri.redacted, f"the server redirects to {error}") from None
        return following

    def _session(self, target: MediaURI) -> Session:
        """This thread's session for hosts of any address, or for those of public addresses."""
        if not _HOST.fullmatch(target.bucket):
            raise SourceError(target.redacted, f"{target.bucket!r} is not the name of a host")
        trusted = self._allowlist.trusts(target)
        if not trusted:
            # A proxy would connect for us, so the spelled-out ones are refused before it is asked.
            address = literal_address(target.bucket)
            if address is not None and not is_public(address):
                raise refuse_private(target, address)
        sessions = self._sessions.get()
        session = sessions.trusted if trusted else sessions.guarded
        if session is None:
            session = self._make_session(trusted)
            setattr(sessions, "trusted" if trusted else "guarded", session)
        return session

    def _make_session(self, trusted: bool) -> Session:
        import requests

        from forebay.sources.guard import GuardedAdapter

        session = requests.Session()
        session.headers.update({"User-Agent": f"forebay/{__version__}", "Accept-Encoding": "identity"})
        for option in ("verify", "cert", "proxies"):
            if option in self._options:
                setattr(session, option, self._options[option])
        if not trusted:
            session.mount("http://", GuardedAdapter())
            session.mount("https://", GuardedAdapter())
        return session

    def _auth(self) -> Any:
        auth = self._options.get("auth")
        return tuple(auth) if auth is not None else None

    def _failure(self, uri: MediaURI, target: MediaURI, error: Exception) -> SourceError:
        from forebay.sources.guard import PrivateAddressError

        if isinstance(error, PrivateAddressError):
            return refuse_private(target, error.address)
        return web.failure(uri, error)

    def _refusal(self, uri: MediaURI, response: Response) -> SourceError:
        code = ""
        if "xml" in response.headers.get("Content-Type", ""):
            # Buckets behind public and signed URLs tell more than a status.
            code = failures.error_code(response.raw.read(4096).decode(errors="replace"))
        response.close()
        shown = "the URL's own credentials" if uri.query or _user(uri) else "no credentials"
        return failures.refusal(uri, response.status_code, code, credentials=shown)


class _Sessions(threading.local):
    """Each thread's sessions: for hosts of any address, and for those of public ones."""

    trusted: Session | None = None
    guarded: Session | None = None


def _no_sessions() -> _Sessions:
    # Imported here because no fork can happen meanwhile.
    import forebay.sources.guard  # noqa: F401

    return _Sessions()


def _url(uri: MediaURI) -> str:
    """The URL without the parts that are not for the server, put together from what was checked."""
    return f"{uri.scheme}://{uri.bucket}/{uri.key}" + (f"?{uri.query}" if uri.query else "")


def _kept(cookies: RequestsCookieJar | None, response: Response) -> RequestsCookieJar:
    """The cookies of one chain of redirects, which some log-ins are made of; nothing outlives the chain."""
    from requests.cookies import RequestsCookieJar

    cookies = cookies or RequestsCookieJar()
    cookies.update(response.cookies)
    return cookies


def _user(uri: MediaURI) -> tuple[str, str] | None:
    parts = urlsplit(uri.raw)
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")
