"""Which blocks hold the bytes that a job names."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.errors import ConfigError
from forebay.fetch.wanted_parts import Parts, parts_of_text, text_of_parts, wanted_blocks
from forebay.uri.blocks import Version

MIB = 1 << 20
VERSION = Version("s3/b/video.mp4", 10 * MIB + 5, '"tag"')


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        (Parts(head=1), [0]),
        (Parts(head="1MiB"), [0]),
        (Parts(head=MIB + 1), [0, 1]),
        (Parts(tail=5), [10]),
        (Parts(tail=6), [9, 10]),
        (Parts(tail="1TB"), list(range(11))),
        (Parts(ranges="2MiB-4MiB"), [2, 3]),
        (Parts(ranges=["9.5MiB-", (0, 1), ("3MiB", None)]), [0, *range(3, 11)]),
        (Parts(1, 1, ["5MiB-6MiB"]), [0, 5, 10]),
        # What an object does not have, it lacks for no one.
        (Parts(ranges="20MiB-30MiB"), []),
        (Parts(ranges="10MiB-30MiB"), [10]),
    ],
)
def test_blocks_that_hold_the_bytes(parts: Parts, blocks: list[int]) -> None:
    assert wanted_blocks(parts, VERSION) == blocks
    assert parts_of_text(text_of_parts(parts)) == parts


@pytest.mark.parametrize(
    "given", ["5", "5-3", "5-5", "a-b", "-5", "", "1-2-3", (1,), (3, 1), (-1, 4), None, 7]
)
def test_what_is_no_range_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="is not a range of bytes; expected for instance 0-16MiB"):
        Parts(ranges=[given])


@pytest.mark.parametrize("given", [None, 7])
def test_what_is_no_list_of_ranges_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="is not a range of bytes; expected for instance 0-16MiB"):
        Parts(ranges=given)


def test_at_least_one_byte_is_named() -> None:
    with pytest.raises(ConfigError, match="head, tail and ranges name no byte"):
        Parts(head=0)
    with pytest.raises(ConfigError, match="is not a size"):
        Parts(tail="much")


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "[-1, 0]", '["a", 0]', "[0, 0]", "[1, 0, 3]", "["])
def test_a_broken_record_stands_for_whole_objects(text: str) -> None:
    assert parts_of_text(text) is None
