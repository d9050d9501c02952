"""What is taken for a block, whatever a server makes of If-Match and Range."""

from __future__ import annotations

from typing import Any, cast

import pytest

from forebay.errors import ObjectChangedError, SourceError
from forebay.sources.base import Asking, ObjectInfo
from forebay.sources.block_source import BlockSource
from forebay.transport import Head
from forebay.uri import parse
from forebay.uri.blocks import BLOCK_BYTES, Version

URI = parse("s3://bucket/video.mp4")
VERSION = Version(URI.entry, 3 * BLOCK_BYTES, '"v1"')


class Answer:
    """A source whose answers say this of the object, and a head with this status and span."""

    def __init__(self, status: int, span: tuple[int, int, int] | None, etag: str, size: int) -> None:
        self.status, self.span = status, span
        self._info = ObjectInfo(URI.raw, size, etag, md5="0" * 32)

    def describe(self, uri: object, head: object) -> ObjectInfo:
        return self._info


def described(status: int = 206, start: int = BLOCK_BYTES, etag: str = '"v1"', size: int = 0) -> ObjectInfo:
    whole = size or VERSION.size
    answer: Any = Answer(status, (start, start + BLOCK_BYTES, whole), etag, whole)
    return BlockSource(cast(Asking, answer), VERSION.block(1)).describe(URI, cast(Head, answer))


def test_a_block_is_as_long_as_it_must_be_and_has_no_checksum_of_the_whole() -> None:
    info = described()
    assert (info.size, info.etag, info.md5, info.ranges) == (BLOCK_BYTES, '"v1"', None, False)


@pytest.mark.parametrize("other", [{"etag": '"v2"'}, {"size": 4 * BLOCK_BYTES}])
def test_another_version_is_refused_for_good_where_a_server_ignores_if_match(other: dict[str, Any]) -> None:
    with pytest.raises(ObjectChangedError) as raised:
        described(**other)
    assert raised.value.exhausted


@pytest.mark.parametrize("other", [{"status": 200}, {"start": 0}])
def test_other_bytes_are_refused(other: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match="does not send the parts"):
        described(**other)
