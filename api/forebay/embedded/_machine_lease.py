"""The right of one machine to run the server of a directory that several machines may reach.

It is a file with the holder's name that the holder touches every two seconds, created with ``link``, which
is atomic on NFS, too. A holder that finds its lease lost ends its server at once.

A machine takes a lease over with ``rename``. Before that it links a file that is named after the old lease;
the link succeeds for one machine only.

When a lease may be taken over:

=====================================================  ==============================================
the holder                                             may be taken
=====================================================  ==============================================
gave it back (the file is gone)                        at once
used the same lock, since the last boot                at once: the lock tells that no server runs
same host restarted, or another container or mount     6 s after its last heartbeat
another host                                           300 s after its last heartbeat
=====================================================  ==============================================
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import NamedTuple

from forebay import processes
from forebay.embedded import _data, _lock
from forebay.embedded._settings import LEASE

HEARTBEAT_SECONDS = 2.0
NEAR_SECONDS = 6.0
FAR_SECONDS = 300.0
_TURN_SECONDS = 0.01


class HeldElsewhere(NamedTuple):
    """Another machine runs, or may run, a server for this directory.

    Attributes:
        host: its name.
        age_seconds: the time since its last heartbeat.
        free_after_seconds: its lease may be taken over if it sends no heartbeat for this much longer.
    """

    host: str
    age_seconds: float
    free_after_seconds: float


class MachineLease:
    """This machine's lease of the working directory.

    Args:
        host: the machine's name.
    """

    def __init__(self, host: str) -> None:
        self._token = os.urandom(16).hex()
        self._record: dict[str, object] = {
            "host": host,
            "boot": processes.boot_id(),
            "lock": f"{processes.network_namespace()}/{_lock.name_of('.')}",
            "pid": os.getpid(),
            "token": self._token,
        }
        self._draft = f"{LEASE}.{self._token}"

    def take(self) -> HeldElsewhere | None:
        """Takes the lease; returns ``None``, or the holder if the lease may not be taken."""
        foreign = False
        try:
            while not self._create():
                held = _read(LEASE)
                if held is None:
                    continue
                age = self._age()
                takeover = self._takeover_seconds(held)
                if age < takeover:
                    return HeldElsewhere(str(held.get("host", "an unknown machine")), age, takeover - age)
                if self._take_over(held):
                    foreign = held.get("host") != self._record["host"]
                    break
                time.sleep(_TURN_SECONDS)
        finally:
            _unlink(self._draft)
        if foreign:
            _data.make_own()
        return None

    def heartbeat(self) -> bool:
        """Touches the lease as a heartbeat; false when the lease is lost."""
        try:
            if (_read(LEASE) or {}).get("token") != self._token:
                return False
            os.utime(LEASE)
        except FileNotFoundError:
            return False
        except OSError:
            # The file server is out of reach: no other machine can have taken the lease meanwhile, either.
            return True
        return True

    def release(self) -> None:
        """Gives the lease back."""
        if self.heartbeat():
            _unlink(LEASE)

    def _create(self, path: str = LEASE) -> bool:
        """Creates a file with this machine's record; false when another machine's file is there."""
        text = json.dumps(self._record)
        with open(self._draft, "w") as draft:
            draft.write(text)
        try:
            os.link(self._draft, path)
        except FileExistsError:
            # Over NFS the answer to a link that was made may have been lost.
            return (_read(path) or {}).get("token") == self._token
        except OSError:
            return _create_exclusively(path, text)
        return True

    def _takeover_seconds(self, held: dict[str, object]) -> float:
        """The age in seconds from which a lease may be taken over; the table above has the cases."""
        ours, boot = self._record, held.get("boot")
        if ours["boot"] == boot and ours["lock"] == held.get("lock") and ours["host"] == held.get("host"):
            return 0.0
        near = ours["host"] == held.get("host") or (ours["boot"] == boot and boot)
        return NEAR_SECONDS if near else FAR_SECONDS

    def _age(self, path: str = LEASE) -> float:
        """Seconds since the last heartbeat, by the file system's clock, as the hosts' clocks differ.

        A time in the future counts like one as far in the past: the clock was set back, and a living
        holder would have touched the file since.
        """
        os.utime(self._draft)
        try:
            return abs(os.stat(self._draft).st_mtime - os.stat(path).st_mtime)
        except FileNotFoundError:
            return FAR_SECONDS

    def _take_over(self, held: dict[str, object]) -> bool:
        """Replaces an expired lease by this machine's; false when another machine is doing, or did so."""
        turn = f"{LEASE}.{_digest(held)}.over"
        if not self._create(turn):
            if self._age(turn) >= NEAR_SECONDS:
                # The machine that was taking over has died.
                _unlink(turn)
            return False
        try:
            if _read(LEASE) != held:
                return False
            os.rename(self._draft, LEASE)
        finally:
            _unlink(turn)
        return True


def _digest(held: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:32]


def _create_exclusively(path: str, text: str) -> bool:
    """For file systems without hard links."""
    try:
        with open(path, "x") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _read(path: str) -> dict[str, object] | None:
    """The record of a lease; ``{}`` when it is unreadable, ``None`` when there is none."""
    try:
        with open(path) as file:
            record = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
