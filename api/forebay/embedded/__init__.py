"""The embedded default: a private Valkey per cache directory, which nobody has to set up or to stop.

`ensure_running` returns the URL of a server for a cache directory and starts one when there is none.
All processes of this machine that use the directory share it. It belongs to none of them: it survives
the ``kill -9`` of whoever started it, keeps its data in ``<cache_dir>/.forebay/valkey``, and stops when
no client was connected for `IDLE_SECONDS`.

    starter --(spawns, reads one line)--> supervisor --(child)--> valkey-server

- One server per directory: the supervisor and the server hold a kernel lock of this machine
  (`forebay.embedded._lock`).
- One machine per directory: the supervisor keeps a lease in the directory (`forebay.embedded._lease`).
- One index and one name per volume: an owner record, for the embedded index and for Redis (`read_owner`,
  `write_owner`, `claim_volume`, `check_name`).

Where a batch system or a container ends everything that was started in it, the server ends too; the next
start finds its data.

What a kill leaves behind: of the supervisor, a server that the kernel tells to stop (on Linux); of the
server, a supervisor that ends by itself; of both, nothing that the next start would trip over. What the
server acknowledged is in its append-only file, which a power failure may cut by the last second.
"""

from forebay.embedded._control import Status, status, stop
from forebay.embedded._owner import Owner, check_name, claim_volume, owner_path, read_owner, write_owner
from forebay.embedded._start import IDLE_SECONDS, broker_url, ensure_running

__all__ = [
    "IDLE_SECONDS",
    "Owner",
    "Status",
    "broker_url",
    "check_name",
    "claim_volume",
    "ensure_running",
    "owner_path",
    "read_owner",
    "status",
    "stop",
    "write_owner",
]
