"""Space for a file of known size, before its bytes arrive in any order."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.volume.disk import allocate

SIZE = 1_000_000
DISK, MEMORY_OR_NETWORK = 8, 0


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def failing(number: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(("major", "is_taken"), [(DISK, True), (MEMORY_OR_NETWORK, False)])
def test_space_is_taken_on_a_disk_only(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, major: int, is_taken: bool
) -> None:
    # given a file on a device with that major number
    monkeypatch.setattr(os, "major", lambda device: major)

    # when
    allocate(descriptor, SIZE)

    # then it has its size, and its blocks only where they cost nothing
    found = os.fstat(descriptor)
    assert found.st_size == SIZE
    assert (found.st_blocks * 512 >= SIZE) is is_taken


def test_a_file_system_that_cannot_gives_the_size_alone(
    descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "major", lambda device: DISK)
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.EOPNOTSUPP))

    allocate(descriptor, SIZE)

    assert os.fstat(descriptor).st_size == SIZE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_at_once(descriptor: int, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "major", lambda device: DISK)
    monkeypatch.setattr(os, "posix_fallocate", failing(number))

    with pytest.raises(OSError, match=os.strerror(number)):
        allocate(descriptor, SIZE)
