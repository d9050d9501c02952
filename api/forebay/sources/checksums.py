"""The checksums that S3 keeps beside an object, other than its MD5."""

from __future__ import annotations

import base64
import hashlib
import zlib

from forebay.transport import Head

# CRC-32C and CRC-64/NVME are not checked: Python has neither, and they would cost more than the download.
_KNOWN = ("sha256", "sha1", "crc32")


def announced(head: Head) -> tuple[str, str] | None:
    """The name and value (base64) of the checksum of a whole object; ``None`` where there is none."""
    if head.status != 200:
        return None
    for name in _KNOWN:
        value = head.headers.get(f"x-amz-checksum-{name}")
        # "…-3" is made of those of three parts.
        if value and "-" not in value:
            return name, value
    return None


class Digest:
    """Computes the checksum of what passes by.

    Args:
        checksum: the expected one, as `announced` gives it.
    """

    def __init__(self, checksum: tuple[str, str]) -> None:
        name, self._expected = checksum
        self._crc = 0
        self._hash = None if name == "crc32" else hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        if self._hash is None:
            self._crc = zlib.crc32(data, self._crc)
        else:
            self._hash.update(data)

    @property
    def matches(self) -> bool:
        """Whether the bytes so far are those that the checksum is of."""
        found = self._crc.to_bytes(4, "big") if self._hash is None else self._hash.digest()
        return base64.b64encode(found).decode() == self._expected
