"""The leases on what a process fetches ahead, which other processes end when they need the room sooner."""

from __future__ import annotations

import itertools
import os

from forebay.index import Index
from forebay.processes import identity, pid_scope

_numbers = itertools.count(1)


def parent_lease_name() -> str:
    """A name by which the children of this process find a lease; later ones are greater.

    It needs no session, which a user who may only read the volume cannot have.
    """
    return f"ahead-{identity()}.{next(_numbers):09}"


def take_from_parent(index: Index) -> bool:
    """Ends the last lease on what the parent process has fetched ahead, for a child that needs its room now.

    Returns:
        false when there is none.
    """
    parents = f"ahead-{pid_scope()}-{os.getppid()}-"
    names = [name for name, _, _ in index.leases.all() if name.startswith(parents)]
    if not names:
        return False
    index.leases.end(max(names))
    return True


def take_from_another(index: Index) -> bool:
    """Ends a lease on what another process of this machine has fetched ahead, to make room.

    That process fetches once more what is evicted then, when its turn comes.

    Returns:
        false when there is none.
    """
    own, others = f"ahead-{identity()}.", f"ahead-{pid_scope()}-"
    names = [
        name for name, _, _ in index.leases.all() if name.startswith(others) and not name.startswith(own)
    ]
    if not names:
        return False
    # The later it was begun, the later it is needed.
    index.leases.end(max(names, key=lambda name: name.rpartition(".")[2]))
    return True
