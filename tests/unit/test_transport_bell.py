"""What wakes an event loop."""

from __future__ import annotations

import os
from pathlib import Path

from forebay.transport.poller import IN, Bell, Poller


def test_a_bell_wakes_who_waits():
    bell, poller = Bell(), Poller()
    poller.watch(bell.descriptor, IN)
    bell.ring()
    bell.ring()
    assert poller.wait(30) == [(bell.descriptor, IN)]
    bell.clear()
    assert poller.wait(0) == []
    poller.close()
    bell.close()


def test_a_closed_bell_writes_into_no_file(tmp_path: Path):
    # Given a bell that is closed, and files that the system gives the descriptors of the bell
    bell = Bell()
    former = bell.descriptor
    bell.close()
    files = [(tmp_path / f"{number}").open("wb", buffering=0) for number in range(8)]
    assert former in [file.fileno() for file in files]

    # When it is rung, then no file has changed.
    bell.ring()
    assert [os.fstat(file.fileno()).st_size for file in files] == [0] * 8
    for file in files:
        file.close()
