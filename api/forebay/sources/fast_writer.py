"""Writing small objects through obstore, which costs a fifth of what boto3 costs."""

from __future__ import annotations

from dataclasses import replace

from forebay.sources.base import ObjectInfo
from forebay.sources.fast import FastReader
from forebay.sources.writing import content_type
from forebay.uri import MediaURI


class FastWriter(FastReader):
    """Writes objects in one request each.

    Not in parts: obstore leaves those that have arrived on the server, to be paid for, when another
    one fails.
    """

    def put_whole(self, uri: MediaURI, data: bytes, md5: str) -> ObjectInfo:
        """Writes an object.

        Returns:
            its metadata; with an ``md5`` only where its etag is that of the data.
        """
        import obstore  # imported here: takes 30 ms, and programs that only read need no writer

        attributes = {"Content-Type": content_type(uri)}
        self._ask(
            uri,
            lambda store: obstore.put(store, uri.key, data, attributes=attributes, use_multipart=False),
            to="write",
        )
        info = self.head(uri)
        return replace(info, md5=md5) if info.etag == f'"{md5}"' else info
