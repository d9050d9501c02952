"""The embedded default: a private Valkey per cache directory, which starts and stops by itself.

`ensure_running` returns the URL of a server for a cache directory and starts one when there is none.
All processes of this machine that use the directory share it. It belongs to none of them: it survives
the ``kill -9`` of the process that started it, keeps its data in ``<cache_dir>/.forebay/valkey``, and
stops when no client was connected for `IDLE_SECONDS`.

    starter --(spawns, reads one line)--> supervisor --(child)--> valkey-server

- One server per directory: the supervisor and the server hold a kernel lock of this machine
  (`forebay.embedded._lock`).
- One machine per directory: the supervisor keeps a lease in the directory
  (`forebay.embedded._machine_lease`).
- One index and one name per volume: an owner record, for the embedded index and for Redis (`read_owner`,
  `write_owner`, `claim_volume`, `check_name`).

For processes that leave none behind (``brief``), it stops `BRIEF_SECONDS` after its last client, however that
ended; and one that ends by itself calls `stop_unused`, so that the server has ended before it.

Where a batch system or a container ends everything that was started in it, the server ends too; the next
start finds its data.

When the supervisor is killed, the kernel tells the server to stop (on Linux); when the server is killed,
the supervisor ends by itself; when both are, the next start works as usual. Changes that the server
acknowledged are in its append-only file, of which a power failure may cut the last second.
"""

from forebay.embedded._control import ServerStatus, status, stop
from forebay.embedded._early import EarlyStart
from forebay.embedded._owner import (
    Owner,
    check_name,
    claim_volume,
    conflict,
    owner_path,
    read_owner,
    write_owner,
)
from forebay.embedded._start import BRIEF_SECONDS, IDLE_SECONDS, broker_url, ensure_running, stop_unused

__all__ = [
    "BRIEF_SECONDS",
    "IDLE_SECONDS",
    "EarlyStart",
    "Owner",
    "ServerStatus",
    "broker_url",
    "check_name",
    "claim_volume",
    "conflict",
    "ensure_running",
    "owner_path",
    "read_owner",
    "status",
    "stop",
    "stop_unused",
    "write_owner",
]
