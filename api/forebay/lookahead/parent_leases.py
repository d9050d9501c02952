"""The leases on what a process fetches ahead: its child processes end them when they need the room."""

from __future__ import annotations

import itertools
import os

from forebay.engine import Engine
from forebay.index import Index
from forebay.processes import pid_scope

_numbers = itertools.count(1)


def parent_lease_name(engine: Engine) -> str:
    """A name by which the children of this process find a lease; later ones are greater."""
    return f"ahead-{engine.open_session().id}.{next(_numbers):09}"


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
