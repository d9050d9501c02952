"""Reading, listing and signing with boto3: slower than obstore, and right in every case.

boto3 works in a forked child, sends every key exactly as it is, and shows the headers that say
whether an etag is an MD5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from forebay.errors import AccessDeniedError, SourceError
from forebay.sources import failures
from forebay.sources.base import Beginning, Buffer, ObjectInfo, ObjectStream
from forebay.sources.listings import Page, PageError, PageQuery
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

    from forebay.sources.s3_access import S3Access

# botocore is imported in the functions that need it: it takes 100 ms, and obstore mostly does without.
_CHUNK_BYTES = 1 << 20
_MAX_SIGNATURE_SECONDS = 7 * 24 * 3600
_SIGNED = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object", "DELETE": "delete_object"}
_MD5 = re.compile(r'"([0-9a-f]{32})"')
# Exceptions of botocore that another attempt may cure.
_INTERRUPTIONS = {
    "ConnectTimeoutError": "timed out: cannot connect",
    "ReadTimeoutError": "timed out: nothing arrived for too long",
    "EndpointConnectionError": "cannot connect",
    "FlexibleChecksumError": "the bytes that arrived do not match the object's checksum",
    "IncompleteReadError": "the answer ended early",
    "HTTPClientError": "the connection was lost",
    "OSError": "the connection was lost",
}


class BotoReader:
    """The objects that one boto3 client reaches."""

    def __init__(self, client: S3Client, access: S3Access) -> None:
        self._client = client
        self._access = access

    def open(
        self, uri: MediaURI, *, if_none_match: str | None = None, if_modified_since: float | None = None
    ) -> ObjectStream:
        conditions: dict[str, Any] = {}
        if if_none_match is not None:
            conditions["IfNoneMatch"] = if_none_match
        elif if_modified_since is not None:
            conditions["IfModifiedSince"] = datetime.fromtimestamp(if_modified_since, timezone.utc)
        answer = self._get(uri, conditions)
        info = describe(uri, answer)
        if if_none_match is not None and info.etag == if_none_match:
            answer["Body"].close()
            raise failures.refusal(uri, 304)
        return _BotoStream(uri, info, answer["Body"], self._access.credential_provider.description)

    def head(self, uri: MediaURI) -> ObjectInfo:
        try:
            return describe(uri, self._client.head_object(Bucket=uri.bucket, Key=uri.key))
        except Exception as error:
            raise self._failure(uri, error) from None

    def read_range(self, uri: MediaURI, start: int, end: int, *, etag: str | None = None) -> Buffer:
        if start >= end:
            return b""
        conditions: dict[str, Any] = {"Range": f"bytes={start}-{end - 1}"}
        if etag is not None:
            conditions["IfMatch"] = etag
        try:
            answer = self._get(uri, conditions)
        except failures.RangeNotSatisfiableError:
            return b""
        with _BotoStream(
            uri, describe(uri, answer), answer["Body"], self._access.credential_provider.description
        ) as opened:
            if etag is not None and opened.info.etag not in (None, etag):
                raise failures.changed(uri)
            if not answer.get("ContentRange", f"bytes {start}-").startswith(f"bytes {start}-"):
                raise SourceError(uri.redacted, "the server sent another range than the one asked for")
            return b"".join(opened)

    def read_start(self, uri: MediaURI, size: int) -> Beginning:
        try:
            answer = self._get(uri, {"Range": f"bytes=0-{size - 1}"})
        except failures.RangeNotSatisfiableError:
            # Only an empty object has no first byte.
            return Beginning(ObjectInfo(uri.raw, 0), b"")
        with _BotoStream(
            uri, describe(uri, answer), answer["Body"], self._access.credential_provider.description
        ) as opened:
            return Beginning(opened.info, b"".join(opened))

    def page(self, prefix: MediaURI, query: PageQuery) -> Page:
        asked = {"Prefix": query.prefix, "Delimiter": query.delimiter, "StartAfter": query.start_after}
        if query.token:
            asked["ContinuationToken"] = query.token
        try:
            answer = self._client.list_objects_v2(Bucket=prefix.bucket, **asked)  # type: ignore[arg-type]
        except Exception as error:
            raise self._failure(prefix, error, to="list") from None
        return _BotoPage(answer)

    def sign(self, uri: MediaURI, *, expires_seconds: int = 3600, method: str = "GET") -> str:
        if not 1 <= expires_seconds <= _MAX_SIGNATURE_SECONDS:
            raise SourceError(
                uri.redacted, f"a signed URL can last from 1 s to 7 days, not {expires_seconds:,} s"
            )
        try:
            return self._client.generate_presigned_url(
                _SIGNED[method], Params={"Bucket": uri.bucket, "Key": uri.key}, ExpiresIn=expires_seconds
            )
        except KeyError:
            raise failures.unsignable(uri, method) from None
        except Exception as error:
            raise self._failure(uri, error) from None

    def containers(self) -> Sequence[str]:
        try:
            return [bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]]
        except Exception as error:
            raise self._failure(MediaURI("", self._access.scheme, "", ""), error, to="list") from None

    def region_of(self, bucket: str) -> str | None:
        """The region that a bucket is in, which S3 tells even to those who may not read it."""
        from botocore.exceptions import ClientError

        answer: Any
        try:
            answer = self._client.head_bucket(Bucket=bucket)
        except ClientError as error:
            answer = error.response
        region: str | None = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
        return region

    def _get(self, uri: MediaURI, conditions: dict[str, Any]) -> Any:
        try:
            return self._client.get_object(Bucket=uri.bucket, Key=uri.key, **conditions)
        except Exception as error:
            raise self._failure(uri, error) from None

    def _failure(self, uri: MediaURI, error: Exception, *, to: str = "read") -> SourceError:
        return failure(uri, error, self._access.credential_provider.description, to=to)


class _BotoPage:
    """A page of a listing; see `Page`."""

    def __init__(self, answer: Any) -> None:
        self._items = answer.get("Contents", [])
        self.keys = [item["Key"] for item in self._items]
        self.folders = [folder["Prefix"] for folder in answer.get("CommonPrefixes", ())]
        self.token: str = answer.get("NextContinuationToken", "")
        if answer.get("IsTruncated") and not self.token:
            raise PageError("the listing is cut off, and the server does not say how to go on")

    def objects(self, root: str) -> list[ObjectInfo]:
        return [
            ObjectInfo(root + item["Key"], item["Size"], item.get("ETag"), item["LastModified"].timestamp())
            for item in self._items
        ]


class _BotoStream:
    """The body of an answer of boto3."""

    def __init__(self, uri: MediaURI, info: ObjectInfo, body: StreamingBody, credentials: str) -> None:
        self.info = info
        self._uri = uri
        self._body = body
        self._credentials = credentials

    def __iter__(self) -> Iterator[Buffer]:
        try:
            while piece := self._body.read(_CHUNK_BYTES):
                yield piece
        except Exception as error:
            raise failure(self._uri, error, self._credentials) from None

    def close(self) -> None:
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def describe(uri: MediaURI, answer: Any) -> ObjectInfo:
    """An object's metadata, from an answer of boto3 to GET or HEAD."""
    etag = answer.get("ETag")
    # With keys of the customer's or of KMS, the etag is 32 digits too, but of something else.
    plain = answer.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in answer
    md5 = _MD5.fullmatch(etag or "") if plain and "ContentRange" not in answer else None
    whole = answer.get("ContentRange", "").rpartition("/")[2]
    return ObjectInfo(
        uri.raw,
        int(whole) if whole.isdigit() else answer["ContentLength"],
        etag,
        answer["LastModified"].timestamp(),
        content_type=answer.get("ContentType"),
        md5=md5[1] if md5 else None,
    )


def failure(  # noqa: PLR0911 - one for each kind of exception
    uri: MediaURI, error: Exception, credentials: str, *, to: str = "read"
) -> SourceError:
    """The error for an exception of botocore; see `failures.refusal`."""
    from botocore.exceptions import BotoCoreError, ClientError

    if isinstance(error, SourceError):
        return error
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        code = error.response.get("Error", {}).get("Code", "")
        if status == 416:
            return failures.beyond_end(uri)
        return failures.refusal(uri, status, "" if code.isdigit() else code, credentials=credentials, to=to)
    names = [kind.__name__ for kind in type(error).__mro__]
    if "SSLError" in names:
        return SourceError(uri.redacted, "the server's TLS certificate is not trusted")
    if reasons := [_INTERRUPTIONS[name] for name in names if name in _INTERRUPTIONS]:
        return failures.interrupted(uri, _in_words(uri, reasons[0], str(error)))
    if isinstance(error, BotoCoreError) and "redential" in f"{names} {error}":
        return AccessDeniedError(uri.redacted, f"{credentials} cannot be used: {error}")
    return SourceError(uri.redacted, f"{type(error).__name__}: {error}")


def _in_words(uri: MediaURI, reason: str, text: str) -> str:
    if not reason.endswith("cannot connect"):
        return reason
    return reason + failures.at_server(uri, text)
