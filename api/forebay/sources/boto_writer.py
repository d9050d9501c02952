"""Writing, copying and deleting with boto3: large objects in parts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from forebay.errors import SourceError
from forebay.sources.base import ObjectInfo
from forebay.sources.boto import failure
from forebay.sources.per_process import PerProcess
from forebay.sources.writing import check_arrived, content_type, damaged
from forebay.uri import MediaURI

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from s3transfer.manager import TransferManager

    from forebay.sources.s3_access import S3Access

# s3transfer and botocore are imported in the functions that need them: they take 100 ms.
PART_BYTES = 16 << 20
# One request can copy 5 GiB, but answers only when it is done.
_COPY_PART_BYTES = 256 << 20
_PARTS_AT_A_TIME = 8
# A part that fails is sent again by itself, rather than the whole object.
_PART_ATTEMPTS = 4
_PARTS_ETAG = re.compile(r'"([0-9a-f]{32})-(\d+)"')
_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "Metadata",
)


class BotoWriter:
    """Writes to the buckets of one S3 server, with clients that each process makes for itself.

    Args:
        describe: gives an object's metadata, from the headers of an answer.
    """

    def __init__(
        self, access: S3Access, describe: Callable[[MediaURI, Mapping[str, str]], ObjectInfo]
    ) -> None:
        self._access = access
        self._describe = describe
        self._clients = PerProcess(access.client)
        self._transfers = PerProcess(self._make_transfers)

    def put(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        if size > PART_BYTES:
            return self._put_parts(uri, file, size)
        file.seek(0)
        data = file.read()
        digest = hashlib.md5(data, usedforsecurity=False)
        try:
            self._clients.get().put_object(
                Bucket=uri.bucket,
                Key=uri.key,
                Body=data,
                ContentType=content_type(uri),
                # A server that receives something else refuses it.
                ContentMD5=base64.b64encode(digest.digest()).decode(),
            )
        except Exception as error:
            raise self._failure(uri, error) from None
        info = self._info(uri, self._head(uri))
        check_arrived(uri, info, size, digest.hexdigest())
        return info

    def _put_parts(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        """Writes a large object in parts, several at a time; gives them up when one of them fails."""
        file.seek(0)
        try:
            self._transfers.get().upload(
                file, uri.bucket, uri.key, extra_args={"ContentType": content_type(uri)}
            ).result()
        except Exception as error:
            raise self._failure(uri, error) from None
        answer = self._head(uri)
        info = self._info(uri, answer)
        check_arrived(uri, info, size, None)
        _check_parts(uri, answer, file)
        return info

    def copy(self, source: MediaURI, target: MediaURI) -> ObjectInfo:
        answer = self._head(source)
        original = self._info(source, answer)
        where: Any = {"Bucket": source.bucket, "Key": source.key}
        try:
            if answer["ContentLength"] <= _COPY_PART_BYTES:
                self._clients.get().copy_object(Bucket=target.bucket, Key=target.key, CopySource=where)
            else:
                # A copy in parts is a new object, which does not inherit the original's headers.
                kept = {name: answer[name] for name in _KEPT if answer.get(name)}
                self._transfers.get().copy(where, target.bucket, target.key, extra_args=kept).result()
        except Exception as error:
            raise self._failure(target, error) from None
        info = self._info(target, self._head(target))
        check_arrived(target, info, original.size, original.md5)
        return info

    def delete(self, uri: MediaURI) -> None:
        try:
            self._clients.get().delete_object(Bucket=uri.bucket, Key=uri.key)
        except Exception as error:
            raise self._failure(uri, error, to="delete") from None

    def _make_transfers(self) -> TransferManager:
        from s3transfer.manager import TransferConfig, TransferManager

        client: S3Client = self._access.client(attempts=_PART_ATTEMPTS)
        config = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_request_concurrency=_PARTS_AT_A_TIME,
            max_in_memory_upload_chunks=_PARTS_AT_A_TIME,
        )
        return TransferManager(client, config)

    def _head(self, uri: MediaURI) -> Any:
        try:
            return self._clients.get().head_object(Bucket=uri.bucket, Key=uri.key)
        except Exception as error:
            raise self._failure(uri, error, to="read") from None

    def _info(self, uri: MediaURI, answer: Any) -> ObjectInfo:
        return self._describe(uri, answer["ResponseMetadata"]["HTTPHeaders"])

    def _failure(self, uri: MediaURI, error: Exception, *, to: str = "write") -> SourceError:
        return failure(uri, error, self._access.description, to=to)


def _check_parts(uri: MediaURI, answer: Any, file: BinaryIO) -> None:
    """Compares the etag of an object in parts, which is made of the MD5s of its parts, with the file."""
    etag = _PARTS_ETAG.fullmatch(answer.get("ETag", ""))
    if etag is None or answer.get("ServerSideEncryption", "AES256") != "AES256":
        return
    file.seek(0)
    digests = []
    while part := file.read(PART_BYTES):
        digests.append(hashlib.md5(part, usedforsecurity=False).digest())
    # More than 10,000 parts are not allowed, so that larger objects have larger ones.
    if int(etag[2]) == len(digests):
        expected = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
        if etag[1] != expected:
            raise damaged(uri, f"the MD5 of its parts' is {etag[1]} instead of {expected}")
