"""What Azure's package is asked to write, to copy and to delete, and what its errors mean."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from forebay.config import MediaCacheConfig
from forebay.errors import AccessDeniedError, ObjectNotFoundError, SourceError, TransientSourceError
from forebay.sources.azure_access import AzureAccess, azure_access
from forebay.sources.azure_writer import AzureWriter
from forebay.sources.base import ObjectInfo
from forebay.sources.routes import transport_of
from forebay.uri import MediaURI, parse

URI = parse("az://day/a.jpg")
OTHER = parse("abfss://day@other.dfs.core.windows.net/a.jpg")
BODY = b"pixels"
MD5 = hashlib.md5(BODY).hexdigest()


class Blob:
    """What Azure's package has for a blob; notes what it is asked.

    Attributes:
        asked: names of methods with their arguments.
        statuses: of a copy, in turn.
        error: raised by all methods.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.clients: list[str] = []
        self.blobs: list[tuple[str, str]] = []
        self.statuses = ["success"]
        self.error: Exception | None = None

    def get_blob_client(self, container: str, blob: str) -> Blob:
        self.blobs.append((container, blob))
        return self

    def upload_blob(self, file: io.BytesIO, **arguments: Any) -> None:
        self._note("upload", {**arguments, "body": file.read()})

    def start_copy_from_url(self, url: str) -> dict[str, str]:
        self._note("copy", url)
        return {"copy_status": self.statuses.pop(0)}

    def get_blob_properties(self) -> Any:
        self._note("properties", None)
        return type("Properties", (), {"copy": type("Copy", (), {"status": self.statuses.pop(0)})})

    def delete_blob(self) -> None:
        self._note("delete", None)

    def _note(self, name: str, what: Any) -> None:
        self.asked.append((name, what))
        if self.error is not None:
            raise self.error


@pytest.fixture
def blob(monkeypatch: pytest.MonkeyPatch) -> Blob:
    blob = Blob()

    def client(access: AzureAccess, url: str) -> Blob:
        blob.clients.append(url)
        return blob

    monkeypatch.setattr(AzureAccess, "client", client)
    monkeypatch.setattr("forebay.sources.azure_writer.time.sleep", lambda seconds: None)
    return blob


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[ObjectInfo]:
    """What is there, one for each time that it is looked at; the last one from then on."""
    heads = [ObjectInfo(URI.raw, len(BODY), md5=MD5)]

    def head(source: object, uri: MediaURI) -> ObjectInfo:
        return heads.pop(0) if len(heads) > 1 else heads[0]

    monkeypatch.setattr("forebay.sources.azure.AzureSource.head", head)
    return heads


@pytest.fixture
def writer(blob: Blob, heads: list[ObjectInfo], monkeypatch: pytest.MonkeyPatch) -> AzureWriter:
    return written_with(monkeypatch)


def written_with(monkeypatch: pytest.MonkeyPatch, **limits: float) -> AzureWriter:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "photos")
    config = MediaCacheConfig(extra_client_kwargs={"azure": {"anonymous": True}})
    access = azure_access(config)
    return AzureWriter(replace(access, limits=replace(access.limits, **limits)), transport_of(config))


def put(writer: AzureWriter, uri: MediaURI = URI) -> ObjectInfo:
    return writer.put(uri, io.BytesIO(BODY), len(BODY))


class TestPut:
    def test_sends_the_whole_file_with_what_proves_it(self, writer: AzureWriter, blob: Blob) -> None:
        put(writer)
        ((what, sent),) = blob.asked
        settings = sent.pop("content_settings")
        assert (settings.content_type, bytes(settings.content_md5).hex()) == ("image/jpeg", MD5)
        assert what == "upload"
        assert {**sent, "max_concurrency": 0} == {
            "body": BODY,
            "length": len(BODY),
            "overwrite": True,
            "validate_content": True,
            "max_concurrency": 0,
        }
        assert blob.blobs == [("day", "a.jpg")]

    @pytest.mark.parametrize("there", [{"size": 5}, {"md5": "0" * 32}])
    def test_looks_at_what_arrived(
        self, writer: AzureWriter, heads: list[ObjectInfo], there: dict[str, Any]
    ) -> None:
        heads[0] = heads[0]._replace(**there)
        with pytest.raises(TransientSourceError, match="was written, but"):
            put(writer)

    def test_makes_one_client_for_an_account(self, writer: AzureWriter, blob: Blob) -> None:
        for uri in (URI, OTHER, URI, OTHER):
            put(writer, uri)
        assert blob.clients == [f"https://{name}.blob.core.windows.net" for name in ("photos", "other")]

    @pytest.mark.parametrize("uri", ["az://day/a/../b", "az://day/./a", "az://day/..", "az://d--y/a"])
    def test_asks_for_nothing_where_a_name_would_be_another_one(
        self, writer: AzureWriter, blob: Blob, uri: str
    ) -> None:
        with pytest.raises(SourceError):
            put(writer, parse(uri))
        assert (blob.asked, blob.blobs) == ([], [])

    @pytest.mark.parametrize(
        ("uri", "said"),
        [
            ("az://day/a/../b", "'.' or '..' as a segment of their name cannot be written"),
            ("az://d--y/a", "is no name of a container"),
        ],
    )
    def test_says_what_is_wrong_with_a_name(self, writer: AzureWriter, uri: str, said: str) -> None:
        for write in (lambda: put(writer, parse(uri)), lambda: writer.delete(parse(uri))):
            with pytest.raises(SourceError, match=said):
                write()


class TestCopy:
    def test_waits_until_the_server_is_done(self, writer: AzureWriter, blob: Blob) -> None:
        blob.statuses = ["pending", "pending", "success"]
        writer.copy(URI, OTHER)
        url = "https://photos.blob.core.windows.net/day/a.jpg"
        assert blob.asked == [("copy", url), ("properties", None), ("properties", None)]

    @pytest.mark.parametrize("status", ["failed", "aborted"])
    def test_that_ends_otherwise_is_an_error(self, writer: AzureWriter, blob: Blob, status: str) -> None:
        blob.statuses = ["pending", status]
        with pytest.raises(TransientSourceError, match=f"the copy ended as {status}"):
            writer.copy(URI, OTHER)

    def test_that_does_not_end_is_an_error(
        self, blob: Blob, heads: list[ObjectInfo], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        blob.statuses = ["pending"]
        with pytest.raises(TransientSourceError, match="the copy ended as pending"):
            written_with(monkeypatch, total_seconds=-1.0).copy(URI, OTHER)

    @pytest.mark.parametrize("there", [{"size": 5}, {"md5": "0" * 32}])
    def test_of_something_else_is_an_error(
        self, writer: AzureWriter, heads: list[ObjectInfo], there: dict[str, Any]
    ) -> None:
        heads.append(heads[0]._replace(**there))
        with pytest.raises(TransientSourceError, match="was written, but"):
            writer.copy(URI, OTHER)

    def test_that_is_refused_names_its_target(self, writer: AzureWriter, blob: Blob) -> None:
        blob.error = answer(HttpResponseError, 403, "AuthorizationFailure")
        with pytest.raises(AccessDeniedError) as raised:
            writer.copy(URI, OTHER)
        assert str(raised.value).startswith(f"{OTHER}: access denied (403 Forbidden: AuthorizationFailure)")


class TestDelete:
    def test_of_nothing_does_nothing(self, writer: AzureWriter, blob: Blob) -> None:
        blob.error = ResourceNotFoundError("none")
        writer.delete(URI)
        assert blob.asked == [("delete", None)]

    def test_that_is_refused_says_so(self, writer: AzureWriter, blob: Blob) -> None:
        blob.error = answer(HttpResponseError, 403, "")
        with pytest.raises(AccessDeniedError, match="give credentials that may delete it"):
            writer.delete(URI)


def answer(kind: type[HttpResponseError], status: int, code: str) -> HttpResponseError:
    """What the package raises for an answer."""
    error = kind("s3cr3t")
    error.status_code, error.error_code = status, code  # type: ignore[attr-defined]
    return error


ANONYMOUS = "no credentials (the setting asks for none)"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            answer(ResourceNotFoundError, 404, "ContainerNotFound"),
            ObjectNotFoundError,
            "no such bucket 'day'",
        ),
        (answer(HttpResponseError, 503, "ServerBusy"), TransientSourceError, "too busy (503"),
        (
            answer(ClientAuthenticationError, 403, "AuthenticationFailed"),
            AccessDeniedError,
            f"(403 Forbidden: AuthenticationFailed) with {ANONYMOUS}; it is not public: give credentials",
        ),
        (
            answer(HttpResponseError, 403, "s3cr3t text"),
            AccessDeniedError,
            f"(403 Forbidden) with {ANONYMOUS}",
        ),
        (ClientAuthenticationError("s3cr3t"), AccessDeniedError, f"{ANONYMOUS} cannot be used"),
        (ServiceRequestError("s3cr3t"), TransientSourceError, "cannot connect, or the connection was lost"),
        (ServiceResponseError("s3cr3t"), TransientSourceError, "cannot connect, or the connection was lost"),
        (ConnectionResetError("s3cr3t"), TransientSourceError, "cannot connect, or the connection was lost"),
        (RuntimeError("s3cr3t"), SourceError, "azure-storage-blob failed with RuntimeError"),
    ],
)
def test_what_goes_wrong_is_named_and_not_repeated(
    writer: AzureWriter, blob: Blob, error: Exception, kind: type[SourceError], said: str
) -> None:
    blob.error = error
    with pytest.raises(kind) as raised:
        put(writer)
    assert type(raised.value) is kind
    assert said in str(raised.value)
    assert "s3cr3t" not in str(raised.value)
