"""Writing to ``s3://`` and ``minio://``: through obstore or through boto3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from forebay.sources.base import ObjectInfo
from forebay.sources.boto_writer import PART_BYTES, BotoWriter
from forebay.sources.fast import keeps_key
from forebay.sources.fast_writer import FastWriter
from forebay.sources.per_process import PerProcess, obstore_is_safe
from forebay.sources.writing import check_arrived
from forebay.uri import MediaURI


class S3Writer:
    """Writes small objects through obstore where that is right, and everything else through boto3.

    Args:
        make_fast: makes obstore's writer of this process; gives ``None`` where obstore cannot stand in
            for the client as it is configured.
        make_portable: makes boto3's writer of this process.
    """

    def __init__(
        self, make_fast: Callable[[], FastWriter | None], make_portable: Callable[[], BotoWriter]
    ) -> None:
        self._make_fast = make_fast
        self._fast = PerProcess(self._choose)
        self._portable = PerProcess(make_portable)

    def put(self, uri: MediaURI, file: BinaryIO, size: int) -> ObjectInfo:
        if size > PART_BYTES:
            return self._portable.get().put_parts(uri, file, size)
        file.seek(0)
        data = file.read()
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        writer = self._fast.get() if keeps_key(uri.key) else self._portable.get()
        info = writer.put_whole(uri, data, md5)
        if info.size == size and info.md5 is None:
            # Only boto3 sees whether the etag is an MD5 at all.
            info = self._portable.get().head(uri)
        check_arrived(uri, info, size, md5)
        return info

    def copy(self, source: MediaURI, target: MediaURI) -> ObjectInfo:
        return self._portable.get().copy(source, target)

    def delete(self, uri: MediaURI) -> None:
        self._portable.get().delete(uri)

    def _choose(self) -> FastWriter | BotoWriter:
        return (self._make_fast() if obstore_is_safe() else None) or self._portable.get()
