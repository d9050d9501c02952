"""Asks a source for one block of one version of an object."""

from __future__ import annotations

from forebay.errors import ObjectChangedError, SourceError
from forebay.sources import failures
from forebay.sources.base import Asking, ObjectInfo
from forebay.transport import Head, Outcome, Request
from forebay.uri import MediaURI
from forebay.uri.blocks import Block


class BlockSource:
    """A source whose one object is a block.

    Args:
        source: of the object.
    """

    def __init__(self, source: Asking, block: Block) -> None:
        self._source = source
        self._block = block

    def request(
        self,
        uri: MediaURI,
        *,
        span: tuple[int, int] | None = None,
        etag: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: float | None = None,
    ) -> Request:
        """The GET for the block; what it is asked for besides is that of the version."""
        block = self._block
        return self._source.request(uri, span=(block.start, block.end), etag=block.version.etag)

    def describe(self, uri: MediaURI, head: Head) -> ObjectInfo:
        block = self._block
        info = self._source.describe(uri, head)
        version = block.version
        if info.etag != version.etag or info.size not in (None, version.size):
            raise _final(failures.changed(uri))
        if head.status != 206 or head.span is None or head.span[:2] != (block.start, block.end):
            raise SourceError(uri.redacted, "its server does not send the parts of it that are asked for")
        return info._replace(size=block.end - block.start, md5=None, checksum=None, ranges=False)

    def request_head(self, uri: MediaURI) -> Request | None:
        """None: blocks are asked for once, and never again."""
        return None

    def describe_head(self, uri: MediaURI, head: Head) -> ObjectInfo:
        return self._source.describe_head(uri, head)

    def follow(self, uri: MediaURI, request: Request, outcome: Outcome) -> Request | None:
        return self._source.follow(uri, request, outcome)

    def failure(self, uri: MediaURI, outcome: Outcome) -> SourceError:
        return _final(self._source.failure(uri, outcome))


def _final(error: SourceError) -> SourceError:
    """Has an error be the last one where the object is not the same any more."""
    if isinstance(error, ObjectChangedError):
        error.exhausted = True
    return error
