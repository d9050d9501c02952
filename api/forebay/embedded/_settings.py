"""The names of the files in ``<cache_dir>/.forebay/valkey``, and the server's settings.

The directory is the working directory of the supervisor and of the server, and every name is relative
to it: nothing has to be quoted, and no path is too long for a unix socket.
"""

SOCKET = "valkey.sock"
LOG = "valkey.log"
CONFIG = "valkey.conf"
LEASE = "host.json"

# What the supervisor calls its own connection, so that it is not taken for a client's.
SUPERVISOR = "supervisor"

# The server's data: a directory from Redis 7 on, a file before.
DATA = ("appendonlydir", "appendonly.aof")

SERVER_CONFIG = f"""\
# Written anew at every start.
port 0
unixsocket {SOCKET}
unixsocketperm 700
protected-mode yes
databases 16
dir .
logfile ""
loglevel warning
daemonize no

# The index must never lose a key by itself.
maxmemory-policy noeviction

# Kept by the append-only file alone; a tail that a power failure cut short is given up at the start.
save ""
appendonly yes
appendfsync everysec
no-appendfsync-on-rewrite yes
aof-load-truncated yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 64mb

# Large keys are freed in the background.
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes
lazyfree-lazy-server-del yes
lazyfree-lazy-user-del yes
lazyfree-lazy-user-flush yes

# A connected client counts as use of the server, so idle clients are not disconnected.
timeout 0
"""
