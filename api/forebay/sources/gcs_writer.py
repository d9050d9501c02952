"""Writing to ``gs://`` with google-cloud-storage."""

from __future__ import annotations

import base64
import threading
from typing import Any, BinaryIO

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, SourceError, TransientSourceError
from forebay.sources import failures
from forebay.sources.base import ObjectInfo
from forebay.sources.gcs import GCSSource
from forebay.sources.gcs_access import GCSAccess, gcs_access
from forebay.sources.routes import transport_of
from forebay.sources.writing import check_arrived, content_type, damaged, md5_of
from forebay.transport import Transport
from forebay.uri import MediaURI

# google's packages are imported in the functions that need them, as they come with an extra.


def gcs_writer(config: MediaCacheConfig, transport: Transport | None = None) -> GoogleWriter:
    """The writer of ``gs://`` URIs.

    Raises:
        ConfigError: the credentials cannot be used.
        SourceError: google-cloud-storage is not installed.
    """
    return GoogleWriter(gcs_access(config, write=True), transport or transport_of(config))


class GoogleWriter:
    """Writes to the buckets that one set of Google credentials reaches."""

    def __init__(self, access: GCSAccess, transport: Transport) -> None:
        # Imported here because no fork can happen meanwhile.
        import google.cloud.storage  # noqa: F401

        self._access = access
        self._reader = GCSSource(access, transport)
        self._clients = threading.local()

    def put(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        md5 = md5_of(file)
        blob = self._blob(uri)
        # With its MD5 told beforehand, the server refuses what arrives damaged.
        blob.md5_hash = base64.b64encode(bytes.fromhex(md5)).decode()
        try:
            blob.upload_from_file(
                file,
                rewind=True,
                size=size,
                content_type=content_type(uri),
                retry=None,
                timeout=self._timeout,
                checksum="md5",
            )
        except Exception as error:
            raise self._failure(uri, error) from None
        info = self._reader.head(uri)
        check_arrived(uri, info, size, md5)
        return info

    def copy(self, source: MediaURI, target: MediaURI) -> ObjectInfo:
        original = self._reader.head(source)
        blob, token = self._blob(target), None
        try:
            while True:
                token, _, _ = blob.rewrite(self._blob(source), token=token, retry=None, timeout=self._timeout)
                if token is None:
                    break
        except Exception as error:
            raise self._failure(target, error) from None
        info = self._reader.head(target)
        check_arrived(target, info, original.size, original.md5)
        return info

    def delete(self, uri: MediaURI) -> None:
        from google.api_core.exceptions import NotFound

        try:
            self._blob(uri).delete(retry=None, timeout=self._timeout)
        except NotFound:
            pass
        except Exception as error:
            raise self._failure(uri, error, to="delete") from None

    @property
    def _timeout(self) -> tuple[float, float]:
        return self._access.limits.connect_seconds, self._access.limits.idle_seconds

    def _blob(self, uri: MediaURI) -> Any:
        payer = self._access.headers.get("x-goog-user-project")
        return self._client().bucket(uri.bucket, user_project=payer).blob(uri.key)

    def _client(self) -> Any:
        client = getattr(self._clients, "client", None)
        if client is None:
            from google.auth.credentials import AnonymousCredentials

            credentials = self._access.tokens.credentials
            client = self._clients.client = self._access.client(
                credentials or AnonymousCredentials()  # type: ignore[no-untyped-call]
            )
        return client

    def _failure(self, uri: MediaURI, error: Exception, *, to: str = "write") -> SourceError:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import GoogleAuthError, TransportError

        description = self._access.tokens.description
        if isinstance(error, GoogleAPICallError):
            return failures.refusal(uri, int(error.code or 0), credentials=description, to=to)
        # The class has lived in several modules.
        if type(error).__name__ == "DataCorruption":
            return damaged(uri, "its MD5 is not the file's")
        if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
            return AccessDeniedError(uri.redacted, f"{description} cannot be used: {error}")
        if isinstance(error, (OSError, TransportError)):  # those of requests are OSErrors, too
            return TransientSourceError(uri.redacted, "cannot connect, or the connection was lost")
        return SourceError(uri.redacted, f"google-cloud-storage failed with {type(error).__name__}")
