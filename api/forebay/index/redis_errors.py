"""What errors of Redis mean to a user: one sentence each, with what to do about it."""

from __future__ import annotations

import re

from forebay.config import env_name, mask_url
from forebay.config.redis_address import kind_of
from forebay.errors import IndexUnavailableError

# The words that begin the refusals of our own scripts, which the index answers for.
_OF_SCRIPTS = ("SESSION", "LOCK", "EMPTIED")
# What servers and Sentinels say, the latter by way of our own errors, while there is no master.
_IN_FAILOVER = ("NOREPLICAS", "MASTERDOWN", "SENTINELDOWN", "READONLY")
_PAGE = "docs/embedded-and-shared-redis.md"


def is_of_script(error: Exception) -> bool:
    """Whether one of our own scripts refused, which is an answer and no fault."""
    return str(error).startswith(_OF_SCRIPTS)


def passes(error: Exception) -> bool:
    """Whether an error may be gone in a moment, as when Redis restarts."""
    import redis  # Slow to import; it is there where there is an error of its.

    if isinstance(error, redis.AuthenticationError | redis.exceptions.AuthorizationError):
        return False
    if re.search(_OF_CERTIFICATES, str(error), re.IGNORECASE):
        return False
    passing = (
        OSError,
        redis.ConnectionError,
        redis.TimeoutError,
        redis.exceptions.BusyLoadingError,
        redis.exceptions.ReadOnlyError,
    )
    return isinstance(error, passing)


def passes_with_failover(error: Exception) -> bool:
    """Whether an error may be gone as soon as another server has taken the place of one that is gone, or a
    cluster has moved a slot."""
    import redis

    told = getattr(error, "status_code", None) or str(error)
    passing = (
        redis.exceptions.MovedError,
        redis.exceptions.AskError,
        redis.exceptions.TryAgainError,
        redis.exceptions.ClusterDownError,
    )
    return isinstance(error, passing) or str(told).startswith(_IN_FAILOVER)


def check_files(files: list[tuple[str, str]], *, queue: bool) -> None:
    """Makes sure that the files of TLS that a URL names can be read: OpenSSL does not say which it misses.

    Args:
        files: each parameter of the URL, and its file.
        queue: as for `explained`.

    Raises:
        IndexUnavailableError: one cannot.
    """
    for name, path in files:
        try:
            with open(path, "rb"):
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            variable = env_name("broker_url" if queue else "redis_url")
            raise IndexUnavailableError(
                f"{name} in {variable} names {path}, which cannot be read ({reason}): correct the path, or "
                "the rights of the file"
            ) from None


def explained(error: Exception, url: str, *, queue: bool) -> IndexUnavailableError:
    """What a user is told of an error of the Redis at a URL.

    Args:
        error: any that redis-py raises.
        queue: whether it is the Redis of Celery's queue; then the message names the broker's setting.
    """
    variable = env_name("broker_url" if queue else "redis_url")
    reason = said(error)
    # redis-py takes the first word of what Redis says off some of its errors.
    text = f"{getattr(error, 'status_code', None) or ''} {_first_line(error)}"
    fitting = (sentence for pattern, sentence in _SENTENCES if re.search(pattern, text, re.IGNORECASE))
    sentence = next(fitting, _CANNOT_BE_REACHED if passes(error) else _ANY_OTHER)
    if sentence == _CLUSTER_NODE and kind_of(url) == "cluster":
        sentence = _CLUSTER_UNSERVED
    elif sentence == _CLUSTER_NODE and queue:
        sentence = _CLUSTER_NODE_OF_QUEUE
    if sentence == _NO_DATABASE:
        sentence += _NO_DATABASE_OF_QUEUE if queue else _NO_DATABASE_OF_INDEX
    told = sentence.format(variable=variable, reason=reason, page=_PAGE, broker=env_name("broker_url"))
    return IndexUnavailableError(f"Redis at {mask_url(url)} {told}")


def said(error: Exception) -> str:
    """The first line of an error's text, without the word that our own errors of Sentinels begin with."""
    return re.sub("^(SENTINEL[A-Z]+|NOMASTER) ", "", _first_line(error))


def _first_line(error: Exception) -> str:
    text = str(error).strip().rstrip(".")
    return text.split("\n", maxsplit=1)[0] or type(error).__name__


_CANNOT_BE_REACHED = "cannot be reached ({reason}): start it, or check {variable}"
_ANY_OTHER = (
    "does not do what it is asked to ({reason}): see its log, and whether {variable} names a Redis or Valkey "
    "6.2 or newer"
)
_NO_DATABASE = "has no such database"
_NO_DATABASE_OF_QUEUE = (
    ", which Celery's queue is to use: set {variable} to one that it has, and that is not the index's"
)
_NO_DATABASE_OF_INDEX = (
    ": set {variable} to one that it has, mostly 0 to 15; the queue uses the next, unless {broker} says "
    "otherwise"
)
_CLUSTER_NODE = (
    "is a node of a cluster ({reason}), which has not all of the keys: write {variable} as "
    "redis+cluster://host1:6379,host2:6379, and name a Redis without cluster mode in {broker}"
)
_CLUSTER_NODE_OF_QUEUE = (
    "is a node of a cluster ({reason}), and Celery cannot keep its queue in one: name a Redis without "
    "cluster mode, or one behind Sentinels, in {variable}"
)
_CLUSTER_UNSERVED = (
    "does not serve the slot of the volume's keys ({reason}): `CLUSTER INFO` and `CLUSTER NODES` say which "
    "node is missing; start it, or have one of its replicas take over with `CLUSTER FAILOVER`"
)
_OF_CERTIFICATES = (
    "certificate verify failed|certificate required|bad certificate|unknown ca|handshake failure|"
    "key values mismatch|wrong version number|record layer failure"
)
# What Redis says, and what that means; the first that fits counts.
_SENTENCES = (
    (
        "sentinelauth ",
        "cannot be found, as a Sentinel refuses the login ({reason}): put sentinel_password, and "
        "sentinel_username where it has users, into the query of {variable}",
    ),
    (
        "sentineldown ",
        "cannot be found: its Sentinels know that the master is down, and have not promoted a replica: see "
        "their logs, and whether enough of them run for the quorum",
    ),
    (
        "sentinelgone ",
        "cannot be found, as none of its Sentinels answers ({reason}): start them, or check the hosts and "
        "ports in {variable}",
    ),
    (
        "nomaster ",
        "cannot be found, as its Sentinels watch no master of that name ({reason}): correct it in {variable}",
    ),
    (
        "certificate required|bad certificate|handshake failure",
        "wants a certificate of this client ({reason}): name one that it trusts, and its key, with "
        "ssl_certfile and ssl_keyfile in the query of {variable}",
    ),
    (
        "certificate verify failed|unknown ca",
        "and this client do not trust the same certificates ({reason}): name the authority that signed the "
        "server's with ssl_ca_certs in the query of {variable}, and one that it trusts with ssl_certfile",
    ),
    (
        "key values mismatch",
        "cannot be asked ({reason}): ssl_certfile and ssl_keyfile in {variable} do not belong to each other",
    ),
    (
        "wrong version number|record layer failure",
        "does not speak TLS at that port ({reason}): write {variable} with redis in place of rediss, or name "
        "the port for TLS",
    ),
    (
        # Without a password, already the greeting of the protocol is refused, in many words.
        "noauth|hello must be called|authentication required",
        "wants a password: put it into {variable}, as in redis://:password@host:6379/0",
    ),
    (
        "wrongpass|invalid password|invalid username|auth.* called without any password|for 'auth' command",
        "refuses the password or user name ({reason}): check {variable}",
    ),
    (
        "noperm|no permissions|can't run this command|can't access at least",
        "does not let the user of {variable} do all that Forebay does ({reason}): give that user the rights "
        "of the ACL in {page}",
    ),
    (
        "oom |used memory > 'maxmemory'",
        "is full: raise its maxmemory, or move what else it holds to another Redis",
    ),
    (
        "misconf|can't persist|unable to persist",
        "takes no changes, as it cannot save its data (MISCONF): free space on its disk, see its log, or "
        "switch its snapshots off with `CONFIG SET save ''` where it has an append-only file",
    ),
    (
        "readonly|read only replica|masterdown",
        "is a replica, which takes no changes ({reason}): name its primary in {variable}",
    ),
    ("loading", "still loads its data ({reason}): wait until it has, and try again"),
    ("select is not allowed in cluster", _NO_DATABASE),
    ("db index is out of range|invalid db index", _NO_DATABASE),
    ("moved|clusterdown|crossslot|^ask |tryagain|hash slot .*not served|cluster is down", _CLUSTER_NODE),
    (
        "noreplicas",
        "takes no changes, as too few replicas follow it ({reason}): start them, or lower its "
        "min-replicas-to-write",
    ),
    (
        "max number of clients",
        "has no connection left ({reason}): raise its maxclients, or stop programs that use it",
    ),
    (
        "wrongtype",
        "has something else under a key of Forebay's ({reason}): another program uses this database; choose "
        "another number for {variable}",
    ),
    ("busy ", "is busy with a script of another program ({reason}): wait, or end it with `SCRIPT KILL`"),
    (
        "unknown command|unknown subcommand",
        "does not know a command ({reason}): use Redis or Valkey 6.2 or newer, with its commands under "
        "their own names",
    ),
    (
        "protocol error|invalid response",
        "does not answer as Redis does ({reason}): check the host and port in {variable}",
    ),
)
