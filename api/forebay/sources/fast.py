"""Reading objects through obstore, which costs a fifth of what boto3 costs.

Callers must know three things about obstore: it does not survive a fork (see `per_process`), it alters
or refuses keys that are no tidy paths (see `keeps_key`), and the cause of a failure has to be parsed
from the text of its exceptions, which quotes the server's whole answer.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from typing_extensions import Self

from forebay.errors import AccessDeniedError, ForebayError, SourceError
from forebay.sources import failures
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import GCSStore, S3Store

    Store = S3Store | GCSStore

T = TypeVar("T")

# obstore is imported in the functions that need it, which a forked child never calls; see `per_process`.

# Smaller bodies come in one piece, which saves the round through a stream: about 30 µs.
_WHOLE_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20

_UNTIDY = re.compile(r"[\x00-\x1f\x7f]|(?:\A|/)\.{0,2}(?:/|\Z)")
_STATUS = re.compile(r"status code: (\d{3})")
_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_SYSTEM = re.compile(r'(?:message|error): "([^"\\]{1,120})"')
_NO_LOCATION = "redirect without LOCATION"


class Credentials(Protocol):
    """The credentials that a store sends to its server."""

    @property
    def description(self) -> str:
        """The credentials in words, for error messages, without secrets."""

    @property
    def error(self) -> Exception | None:
        """Why the last attempt to renew them failed."""


def keeps_key(key: str) -> bool:
    """Whether obstore asks for exactly this key: no control character, no empty, ``.`` or ``..`` segment."""
    return _UNTIDY.search(key) is None


class FastReader:
    """Opens, looks at and reads parts of the objects of one kind of store.

    Args:
        make_store: makes the store of a bucket; called once for each.
        relocate: given a bucket and the text of an error, makes the store to try instead when the text
            says that the bucket is elsewhere.
    """

    def __init__(
        self,
        make_store: Callable[[str], Store],
        credentials: Credentials,
        *,
        relocate: Callable[[str, str], Store | None] = lambda bucket, text: None,
    ) -> None:
        import obstore
        import obstore.store

        self._obstore_get = obstore.get
        self._obstore_head = obstore.head
        self._make_store = make_store
        self._relocate = relocate
        self._credentials = credentials
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        options: GetOptions | None = None
        if if_none_match is not None:
            options = {"if_none_match": if_none_match}
        elif if_modified_since is not None:
            options = {"if_modified_since": datetime.fromtimestamp(if_modified_since, timezone.utc)}
        result = self._get(uri, options)
        info = _info(uri, result.meta, result.attributes.get("Content-Type"))
        if if_none_match is not None and info.etag == if_none_match:
            # A server that does not know conditional requests sends the object again.
            raise failures.refusal(uri, 304)
        return _ObstoreStream(uri, info, result)

    def head(self, uri: MediaURI) -> ObjectInfo:
        return _info(uri, self._ask(uri, lambda store: self._obstore_head(store, uri.key)))

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        if start >= end:
            return b""
        options: GetOptions = {"range": (start, end)}
        if etag is not None:
            options["if_match"] = etag
        try:
            result = self._get(uri, options)
        except failures.RangeNotSatisfiableError:
            return b""
        if etag is not None and result.meta["e_tag"] not in (None, etag):
            raise failures.changed(uri)
        return self._part(uri, result, start, end)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        try:
            result = self._get(uri, {"range": (0, size)})
        except failures.RangeNotSatisfiableError:
            # Only an empty object has no first byte.
            return Beginning(ObjectInfo(uri.raw, 0), b"")
        info = _info(uri, result.meta, result.attributes.get("Content-Type"))
        return Beginning(info, self._part(uri, result, 0, size))

    def _part(self, uri: MediaURI, result: GetResult, start: int, end: int) -> Buffer:
        expected = min(end, result.meta["size"]) - start
        try:
            data = memoryview(result.bytes())
        except Exception as error:
            raise _failure(uri, error, self._credentials) from None
        if len(data) != expected:
            raise failures.truncated(uri, len(data), expected)
        return data

    def _get(self, uri: MediaURI, options: GetOptions | None) -> GetResult:
        store = self._stores.get(uri.bucket)
        if store is not None:
            try:
                return self._obstore_get(store, uri.key, options=options)
            except Exception as error:
                if self._moved(uri, store, error) is None:
                    raise _failure(uri, error, self._credentials) from None
        return self._ask(uri, lambda store: self._obstore_get(store, uri.key, options=options))

    def _ask(self, uri: MediaURI, question: Callable[[Store], T], *, to: str = "read") -> T:
        try:
            store = self._store(uri.bucket)
            try:
                return question(store)
            except Exception as error:
                other = self._moved(uri, store, error)
                if other is None:
                    raise
            return question(other)
        except Exception as error:
            raise _failure(uri, error, self._credentials, to) from None

    def _store(self, bucket: str) -> Store:
        with self._lock:
            store = self._stores.get(bucket)
            if store is None:
                store = self._stores[bucket] = self._make_store(bucket)
            return store

    def _moved(self, uri: MediaURI, store: Store, error: Exception) -> Store | None:
        """The store to try instead of ``store``, which from now on is the bucket's."""
        text = str(error)
        if _NO_LOCATION not in text and failures.error_code(text) != "AuthorizationHeaderMalformed":
            return None
        with self._lock:
            if self._stores.get(uri.bucket) is store:
                other = self._relocate(uri.bucket, text)
                if other is None:
                    return None
                self._stores[uri.bucket] = other
            return self._stores[uri.bucket]


class _ObstoreStream:
    """An answer of obstore."""

    __slots__ = ("_result", "_uri", "info")

    def __init__(self, uri: MediaURI, info: ObjectInfo, result: GetResult) -> None:
        self.info = info
        self._uri = uri
        self._result: GetResult | None = result

    def __iter__(self) -> Iterator[Buffer]:
        result, size, received = self._result, self.info.size or 0, 0
        if result is None:
            raise ValueError("this object was closed")
        try:
            if size < _WHOLE_BYTES:
                whole = memoryview(result.bytes())
                received = len(whole)
                if received:
                    yield whole
            else:
                for piece in result.stream(min_chunk_size=_CHUNK_BYTES):
                    received += len(piece)
                    yield piece
        except Exception as error:
            raise _failure(self._uri, error, None) from None
        if received != size:
            raise failures.truncated(self._uri, received, size)

    def close(self) -> None:
        self._result = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._result = None


def client_options(
    *, connect_timeout: float, read_timeout: float, http: bool, verify: bool | str | None = None
) -> dict[str, Any]:
    """The options of obstore's HTTP client.

    Args:
        http: whether the server is to be spoken to without TLS.
        verify: ``False`` trusts any TLS certificate; a path names further authorities to trust.
    """
    options: dict[str, Any] = {
        "connect_timeout": timedelta(seconds=connect_timeout),
        "read_timeout": timedelta(seconds=read_timeout),
        # Over the whole answer, 30 s unless set: large objects take longer.
        "timeout": timedelta(days=30),
        "allow_http": http,
    }
    if http:
        return options
    if verify is False:
        options["allow_invalid_certificates"] = True
    elif isinstance(verify, str):
        with open(verify, "rb") as authorities:
            options["root_certificate"] = authorities.read()
    return options


def _info(uri: MediaURI, meta: Any, content_type: str | None = None) -> ObjectInfo:
    # No md5: an etag that looks like one may be something else (SSE-KMS), and obstore does not show
    # the headers that would tell.
    return ObjectInfo(
        uri.raw, meta["size"], meta["e_tag"], meta["last_modified"].timestamp(), content_type=content_type
    )


def _failure(uri: MediaURI, error: Exception, credentials: Credentials | None, to: str = "read") -> Exception:
    if isinstance(error, ForebayError):
        return error
    text = str(error)
    status = _STATUS.search(text)
    if status is None:
        return _failure_without_answer(uri, error, text, credentials)
    if status[1] == "416":
        return failures.beyond_end(uri)
    description = credentials.description if credentials else ""
    return failures.refusal(uri, int(status[1]), failures.error_code(text), credentials=description, to=to)


def _failure_without_answer(
    uri: MediaURI, error: Exception, text: str, credentials: Credentials | None
) -> SourceError:
    if _NO_LOCATION in text:
        return SourceError(uri.redacted, "the bucket is in another region than the one configured")
    if kind := _KIND.search(text):
        if "ertificate" in text:
            return SourceError(uri.redacted, "the server's TLS certificate is not trusted")
        return failures.interrupted(uri, _in_words(uri, kind[1], text))
    if type(error).__name__ == "UnauthenticatedError" and credentials is not None:
        why = credentials.error or "they could not be renewed"
        return AccessDeniedError(uri.redacted, f"{credentials.description} cannot be used: {why}")
    return SourceError(uri.redacted, text.partition("\n")[0][:200])


def _in_words(uri: MediaURI, kind: str, text: str) -> str:
    system = _SYSTEM.search(text)
    detail = f" ({system[1]})" if system else ""
    if kind == "Timeout" and "Connect," not in text:
        return "timed out: nothing arrived for too long"
    if kind in ("Connect", "Timeout"):
        late = "timed out: " if kind == "Timeout" else ""
        return f"{late}cannot connect{failures.at_server(uri, text)}{detail}"
    return f"the connection was lost{detail}"
