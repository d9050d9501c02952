"""``gs://bucket/key``: Google Cloud Storage.

Bytes come through obstore, or through requests with google-auth's credentials, over the XML API both
ways: an object's etag is another one in the JSON API, and must not depend on who asked.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, ObjectNotFoundError, SourceError
from forebay.sources import failures, web
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream
from forebay.sources.bucket import BucketSource
from forebay.sources.fast import FastReader, client_options
from forebay.sources.gcs_access import GCSAccess, gcs_access
from forebay.sources.listings import Page, PageQuery
from forebay.sources.listings.gcs_pages import parse_page, query_string
from forebay.sources.per_process import PerProcess
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from obstore.store import GCSStore
    from requests import Response, Session

# google's packages and requests are imported in the functions that need them: they take 200 ms, and
# google-cloud-storage is an extra, whose absence `gcs_access` reports.
_MAX_SIGNATURE_SECONDS = 7 * 24 * 3600
# Objects stored with Content-Encoding: gzip are sent as they are stored only to those who accept gzip;
# for all others they are unpacked on the way, with neither a size nor a checksum.
_AS_STORED = {"Accept-Encoding": "gzip"}


def gcs_source(config: MediaCacheConfig, *, obstore: bool = True) -> BucketSource:
    """The source of ``gs://`` URIs; configured as `forebay.sources.gcs_access` describes.

    Args:
        obstore: whether bytes may move through obstore.

    Raises:
        ConfigError: the credentials cannot be used.
        SourceError: google-cloud-storage is not installed.
    """
    access = PerProcess(lambda: gcs_access(config))

    def fast() -> FastReader | None:
        if not obstore:
            return None
        return FastReader(lambda bucket: _store(access.get(), bucket), access.get().credential_provider)

    access.get()  # a configuration that cannot be used is reported now
    return BucketSource(fast, lambda: GoogleReader(access.get()), verify=config.verify_checksums)


def _store(access: GCSAccess, bucket: str) -> GCSStore:
    from obstore.store import GCSStore

    options = client_options(
        connect_timeout=access.connect_timeout,
        read_timeout=access.read_timeout,
        http=access.endpoint.startswith("http://"),
    )
    return GCSStore(
        bucket,
        base_url=access.endpoint,
        skip_signature=access.credentials is None,
        client_options={**options, "default_headers": {**_AS_STORED, **access.headers}},  # type: ignore[arg-type]
        retry_config={"max_retries": 0},
        # Also where nothing is signed: without one, obstore looks for credentials of its own.
        credential_provider=access.credential_provider,  # type: ignore[arg-type]
    )


class GoogleReader:
    """The objects that one set of Google credentials reaches, through requests."""

    def __init__(self, access: GCSAccess) -> None:
        # Imported here because no fork can happen meanwhile.
        import google.auth.transport.requests  # noqa: F401

        self._access = access
        self._sessions = threading.local()

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        headers = {}
        if if_none_match is not None:
            headers["If-None-Match"] = if_none_match
        elif if_modified_since is not None:
            headers["If-Modified-Since"] = formatdate(if_modified_since, usegmt=True)
        answer = self._ask("GET", uri, self._object(uri), headers=headers)
        opened = web.WebObject(uri, answer, decode=False)
        if if_none_match is not None and opened.info.etag == if_none_match:
            opened.close()
            raise failures.refusal(uri, 304)
        return opened

    def head(self, uri: MediaURI) -> ObjectInfo:
        response = self._ask("HEAD", uri, self._object(uri))
        response.close()
        return web.describe(uri, response, decode=False)

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        if start >= end:
            return b""
        headers = {"Range": f"bytes={start}-{end - 1}"}
        if etag is not None:
            headers["If-Match"] = etag
        response = self._ask("GET", uri, self._object(uri), headers=headers, also=(206, 416))
        if response.status_code == 416:
            response.close()
            return b""
        return web.read_part(uri, response, start, end, etag, decode=False)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        headers = {"Range": f"bytes=0-{size - 1}"}
        response = self._ask("GET", uri, self._object(uri), headers=headers, also=(206, 416))
        if response.status_code == 416:
            response.close()
            # Only an empty object has no first byte.
            return Beginning(ObjectInfo(uri.raw, 0), b"")
        return web.read_start(uri, response, size, decode=False)

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        url = f"{self._access.endpoint}/storage/v1/b/{quote(prefix.bucket, safe='')}/o"
        try:
            body = self._ask("GET", prefix, f"{url}?{query_string(query)}").content
        except ObjectNotFoundError:
            # A listing of nothing is an empty one.
            raise failures.refusal(prefix, 404, "NoSuchBucket") from None
        except Exception as error:
            raise web.failure(prefix, error) from None
        return parse_page(body, query)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        from google.auth.credentials import Signing
        from google.cloud import storage

        if not 1 <= expires_seconds <= _MAX_SIGNATURE_SECONDS:
            raise SourceError(
                uri.redacted, f"a signed URL can last from 1 s to 7 days, not {expires_seconds:,} s"
            )
        if method not in ("GET", "HEAD", "PUT", "DELETE"):
            raise failures.unsignable(uri, method)
        credentials = self._access.credentials
        if credentials is None:
            # Without credentials only public objects can be read, for which no signature is needed.
            return self._object(uri)
        if not isinstance(credentials, Signing):
            raise SourceError(
                uri.redacted,
                f"{self._access.credential_provider.description} cannot sign URLs; that needs a service "
                "account's key file in google_application_credentials, or impersonation of a service account",
            )
        client = storage.Client(project="none", credentials=credentials)
        url: str = (
            client.bucket(uri.bucket)
            .blob(uri.key)
            .generate_signed_url(
                version="v4",
                method=method,
                expiration=timedelta(seconds=expires_seconds),
                api_access_endpoint=self._access.endpoint,
            )
        )
        return url

    def containers(self) -> Sequence[str]:
        everything = MediaURI("", "gs", "", "")
        if self._access.project is None:
            raise SourceError(
                "gs://",
                "buckets are listed by project, and none is configured; set GOOGLE_CLOUD_PROJECT,"
                " or project in extra_client_kwargs",
            )
        names: list[str] = []
        query = {"project": self._access.project, "fields": "items(name),nextPageToken"}
        while True:
            page = self._json(everything, f"{self._access.endpoint}/storage/v1/b", query)
            names += [item["name"] for item in page.get("items", ())]
            if "nextPageToken" not in page:
                return names
            query["pageToken"] = page["nextPageToken"]

    def _object(self, uri: MediaURI) -> str:
        # With slashes encoded too, no proxy can take `..` for a step upwards.
        return f"{self._access.endpoint}/{quote(uri.bucket, safe='')}/{quote(uri.key, safe='')}"

    def _json(self, uri: MediaURI, url: str, query: Mapping[str, str]) -> Any:
        try:
            return self._ask("GET", uri, url, query=query).json()
        except Exception as error:
            raise web.failure(uri, error) from None

    def _ask(
        self,
        method: str,
        uri: MediaURI,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> Response:
        """The answer, if its status is 200 or one of ``also``."""
        try:
            response = self._session().request(
                method,
                url,
                params=query,
                headers=headers,
                timeout=(self._access.connect_timeout, self._access.read_timeout),
                allow_redirects=False,
                stream=True,
            )
            if response.status_code == 200 or response.status_code in also:
                return response
            body = "" if method == "HEAD" else response.raw.read(4096).decode(errors="replace")
            response.close()
        except Exception as error:
            raise self._failure(uri, error) from None
        description = self._access.credential_provider.description
        raise failures.refusal(uri, response.status_code, failures.error_code(body), credentials=description)

    def _session(self) -> Session:
        session: Session | None = getattr(self._sessions, "session", None)
        if session is None:
            session = self._sessions.session = self._make_session()
        return session

    def _make_session(self) -> Session:
        import requests
        from google.auth.transport.requests import AuthorizedSession

        credentials = self._access.credentials
        session: Session = requests.Session()
        if credentials is not None:
            session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        session.headers.update({**_AS_STORED, **self._access.headers})
        return session

    def _failure(self, uri: MediaURI, error: Exception) -> SourceError:
        from google.auth.exceptions import GoogleAuthError, TransportError

        if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
            return AccessDeniedError(
                uri.redacted, f"{self._access.credential_provider.description} cannot be used: {error}"
            )
        return web.failure(uri, error)
