"""Checksums of an object's bytes: those that its source gives, and those that lists give."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Collection
from typing import Any

from forebay.errors import ConfigError
from forebay.sources.base import ObjectInfo
from forebay.transport import Head

# CRC-32C and CRC-64/NVME of S3 are not checked: Python has neither, and they may cost more than the download.
_KNOWN = ("sha256", "sha1", "crc32")


def announced(head: Head, names: Collection[str] = _KNOWN) -> tuple[str, str] | None:
    """The name and value (base64) of S3's checksum of a whole object; ``None`` where there is none.

    Args:
        names: those that are of use, the best first.
    """
    if head.status != 200:
        return None
    for name in names:
        value = head.headers.get(f"x-amz-checksum-{name}")
        # "…-3" is made of those of three parts.
        if value and "-" not in value:
            return name, value
    return None


def comparable() -> tuple[str, ...]:
    """The names of the checksums that a file can be compared by, as fast as it is read; the best first."""
    try:
        import google_crc32c
    except ImportError:
        return _KNOWN
    return (*_KNOWN, "crc32c") if google_crc32c.implementation == "c" else _KNOWN


# Of the checksums that a list may name: how many bytes each has, by which they are told apart.
_LENGTHS = {16: "md5", 32: "sha256", 4: "crc32c"}


def named(text: str) -> tuple[str, str]:
    """The name and value (base64) of a checksum that a list gives: MD5, SHA-256 or CRC-32C, as hexadecimal
    digits or base64, with its name and a colon before it or without.

    Raises:
        ValueError: it is none.
    """
    name, colon, value = text.strip().rpartition(":")
    value = value.strip()
    digest = _decoded(value)
    found = _LENGTHS.get(len(digest))
    if found is None or (colon and name.lower().replace("-", "") != found):
        raise ValueError("expected MD5, SHA-256 or CRC-32C as hexadecimal digits or base64")
    return found, base64.b64encode(digest).decode()


def _decoded(value: str) -> bytes:
    if len(value) in (2 * length for length in _LENGTHS):
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass  # Eight characters may be the base64 of a CRC-32C.
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


class Digest:
    """Computes the checksum of what passes by.

    Args:
        checksum: the expected one, as `announced` or `named` gives it.

    Raises:
        ConfigError: it is a CRC-32C, and the package that computes it is not installed.
    """

    def __init__(self, checksum: tuple[str, str]) -> None:
        name, self._expected = checksum
        self._crc = 0
        self._extend: Callable[[int, bytes], int] | None = None
        if name == "crc32":
            self._extend = lambda crc, data: zlib.crc32(data, crc)
        elif name == "crc32c":
            self._extend = _crc32c()
        self._hash = None if self._extend is not None else hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        if self._hash is not None:
            self._hash.update(data)
        elif self._extend is not None:
            self._crc = self._extend(self._crc, bytes(data))

    @property
    def matches(self) -> bool:
        """Whether the bytes so far are those that the checksum is of."""
        found = self._crc.to_bytes(4, "big") if self._hash is None else self._hash.digest()
        return base64.b64encode(found).decode() == self._expected


class Checksums:
    """Computes all the checksums that a source gives for an object."""

    def __init__(self, info: ObjectInfo) -> None:
        self._wanted = info.md5
        self._md5 = None if info.md5 is None else hashlib.md5(usedforsecurity=False)
        self._other = None if info.checksum is None else Digest(info.checksum)

    def update(self, chunk: bytes) -> None:
        """Adds the next bytes."""
        if self._md5 is not None:
            self._md5.update(chunk)
        if self._other is not None:
            self._other.update(chunk)

    @property
    def matches(self) -> bool:
        """Whether the bytes so far have them."""
        right = self._md5 is None or self._md5.hexdigest() == self._wanted
        return right and (self._other is None or self._other.matches)


def _crc32c() -> Callable[[int, bytes], int]:
    """The CRC-32C of what comes with google-cloud-storage.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import google_crc32c
    except ImportError:
        raise ConfigError(
            "CRC-32C needs the package google-crc32c: pip install 'forebay[gcs]', or name MD5 or SHA-256"
        ) from None
    library: Any = google_crc32c
    extend: Callable[[int, bytes], int] = library.extend
    return extend
