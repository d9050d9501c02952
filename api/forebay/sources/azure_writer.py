"""Writing to ``az://`` with azure-storage-blob: large blobs in blocks."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, SourceError, TransientSourceError
from forebay.sources import failures
from forebay.sources.azure import AzureSource
from forebay.sources.azure_access import AzureAccess, azure_access
from forebay.sources.base import ObjectInfo
from forebay.sources.per_process import PerProcess
from forebay.sources.routes import transport_of
from forebay.sources.writing import check_arrived, content_type, damaged, md5_of
from forebay.transport import Transport
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

_BLOCKS_AT_A_TIME = 4
# A copy within an account is mostly done when it is answered.
_ASKING_SECONDS = 0.2
_COPY_SOURCE_SECONDS = 24 * 3600
_WORD = re.compile(r"\w{1,64}")


def azure_writer(config: MediaCacheConfig, transport: Transport | None = None) -> AzureWriter:
    """The writer of ``az://`` URIs.

    Raises:
        ConfigError: the credentials cannot be used.
        SourceError: Azure's packages are not installed.
    """
    return AzureWriter(azure_access(config), transport or transport_of(config))


class AzureWriter:
    """Writes to the containers that one set of Azure credentials reaches."""

    def __init__(self, access: AzureAccess, transport: Transport) -> None:
        self._access = access
        self._reader = AzureSource(access, transport)
        # By the URL of an account.
        self._clients: dict[str, PerProcess[BlobServiceClient]] = {}

    def put(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        from azure.storage.blob import ContentSettings

        md5 = md5_of(file)
        file.seek(0)
        settings = ContentSettings(content_type=content_type(uri), content_md5=bytearray(bytes.fromhex(md5)))
        blob = self._blob(uri)
        try:
            # Each block is sent with its own MD5, so that the server refuses what arrives damaged.
            blob.upload_blob(
                file,
                length=size,
                overwrite=True,
                content_settings=settings,
                validate_content=True,
                max_concurrency=_BLOCKS_AT_A_TIME,
            )
        except Exception as error:
            raise self._failure(uri, error) from None
        info = self._reader.head(uri)
        check_arrived(uri, info, size, md5)
        return info

    def copy(self, source: MediaURI, target: MediaURI) -> ObjectInfo:
        original = self._reader.head(source)
        signed = self._reader.sign(source, expires_seconds=_COPY_SOURCE_SECONDS)
        blob = self._blob(target)
        deadline = time.monotonic() + self._access.limits.total_seconds
        try:
            status = blob.start_copy_from_url(signed)["copy_status"]
            while status == "pending" and time.monotonic() < deadline:
                time.sleep(_ASKING_SECONDS)
                status = blob.get_blob_properties().copy.status
        except Exception as error:
            raise self._failure(target, error) from None
        if status != "success":
            raise damaged(target, f"the copy ended as {status}")
        info = self._reader.head(target)
        check_arrived(target, info, original.size, original.md5)
        return info

    def delete(self, uri: MediaURI) -> None:
        from azure.core.exceptions import ResourceNotFoundError

        blob = self._blob(uri)
        try:
            blob.delete_blob()
        except ResourceNotFoundError:
            pass
        except Exception as error:
            raise self._failure(uri, error, to="delete") from None

    def _blob(self, uri: MediaURI) -> Any:
        # Refuses what is no name of a container.
        self._reader.url(uri)
        if not {".", ".."}.isdisjoint(uri.key.split("/")):
            # Azure's package would take them for steps, and write another blob.
            raise SourceError(
                uri.redacted, "blobs with '.' or '..' as a segment of their name cannot be written"
            )
        _, account, container = self._access.place(uri)
        client = self._clients.get(account)
        if client is None:
            client = self._clients.setdefault(account, PerProcess(lambda: self._access.client(account)))
        return client.get().get_blob_client(container, uri.key)

    def _failure(self, uri: MediaURI, error: Exception, *, to: str = "write") -> SourceError:
        from azure.core.exceptions import (
            ClientAuthenticationError,
            HttpResponseError,
            ServiceRequestError,
            ServiceResponseError,
        )

        description = self._access.description
        if isinstance(error, HttpResponseError) and error.status_code:
            told = str(getattr(error, "error_code", "") or "")
            code = told if _WORD.fullmatch(told) else ""
            return failures.refusal(uri, error.status_code, code, credentials=description, to=to)
        if isinstance(error, ClientAuthenticationError):
            return AccessDeniedError(uri.redacted, f"{description} cannot be used: check them")
        if isinstance(error, (OSError, ServiceRequestError, ServiceResponseError)):
            return TransientSourceError(uri.redacted, "cannot connect, or the connection was lost")
        return SourceError(uri.redacted, f"azure-storage-blob failed with {type(error).__name__}")
