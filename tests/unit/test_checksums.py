"""The checksums that a list may give."""

from __future__ import annotations

import base64
import hashlib

import pytest

from forebay.errors import ChecksumError
from forebay.fetch.work import items_of
from forebay.sources.checksums import Digest, named

DATA = b"123456789"
MD5, SHA256 = hashlib.md5(DATA).digest(), hashlib.sha256(DATA).digest()
# The check value of CRC-32C, from its definition.
CRC32C = bytes.fromhex("e3069283")


@pytest.mark.parametrize(("name", "digest"), [("md5", MD5), ("sha256", SHA256), ("crc32c", CRC32C)])
@pytest.mark.parametrize("prefix", ["", "{name}:", " {upper}: "])
@pytest.mark.parametrize(
    "write", [bytes.hex, lambda d: d.hex().upper(), lambda d: base64.b64encode(d).decode()]
)
def test_a_checksum_is_told_by_its_length(name: str, digest: bytes, prefix: str, write) -> None:
    text = prefix.format(name=name, upper=name.upper()) + write(digest)

    found = named(text)

    assert found == (name, base64.b64encode(digest).decode())
    matching, other = Digest(found), Digest(found)
    matching.update(DATA[:4])
    matching.update(memoryview(DATA)[4:])
    other.update(b"other")
    assert (matching.matches, other.matches) == (True, False)


@pytest.mark.parametrize(
    "text", ["", "abc", "md5:" + SHA256.hex(), "sha1:" + "0" * 40, MD5.hex()[:-1], "z" * 32, "é" * 8, "md5:"]
)
def test_other_text_is_none(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"^expected MD5, SHA-256 or CRC-32C as hexadecimal digits or base64$"
    ):
        named(text)


def test_two_checksums_of_one_object_are_an_error_of_the_second() -> None:
    samples = [(0, "s3://b/a", "md5:" + MD5.hex()), (1, "s3://b/a"), (2, "s3://b/a", "crc32c:4waSgw==")]

    [item], [broken] = items_of(samples)

    assert (item.checksum, item.others) == ("md5:" + MD5.hex(), [(1, "s3://b/a")])
    assert broken.number == 2 and isinstance(broken.error, ChecksumError)
