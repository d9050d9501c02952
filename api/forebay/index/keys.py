"""The names of everything that a volume keeps in Redis.

All keys of a volume carry one hash tag, so that they live in one slot of a Redis Cluster and a script
may touch several of them.
"""

from __future__ import annotations


class Keys:
    """The keys of one volume's index.

    =================== ====== ====================================================================
    key                 type   content
    =================== ====== ====================================================================
    ``meta``            hash   ``index_id``, ``run_id``; the totals ``published``, ``reserved``,
                               ``leased`` and ``unindexed`` in bytes, and ``count``
    ``entries``         hash   entry -> ``size|etag|fetched`` (and ``|uri`` where a hash replaced it)
    ``atime``           zset   entry -> time of last access; what the evictor may take
    ``atime:leased``    zset   the same, for entries that a lease keeps
    ``leased``          hash   entry -> number of leases on it, cached or not
    ``leases``          zset   lease -> expiry
    ``lease:<id>``      set    the entries of a lease
    ``claims``          hash   entry -> token of the process that downloads, or evicts, it
    ``sessions``        zset   session (a process that claims and reserves) -> expiry
    ``reserved``        hash   session -> reserved bytes
    ``shares``          hash   what is shared and session -> ``limit|demand|granted``, each of a second
    ``owners``          hash   entry -> ``size|label`` of the quota that it counts on
    ``quotas``          hash   ``limit|label`` and ``used|label``, in bytes
    ``evictor``         string the eviction lock
    ``maintenance``     string the lock of the maintenance
    ``upkeep``          string the lock of the worker that looks for lost messages
    ``recovery:<run>``  string the lock of the process that counts what lies on the volume
    ``workers``         hash   worker -> its last heartbeat, as JSON
    ``jobs``            zset   job -> time of creation
    ``counters``        hash   counter and source -> total of what all processes counted
    ``counters:sources`` set   the sources that counters tell apart
    ``counters:recent`` hash   what was downloaded within the last minute, in slots of 5 seconds
    ``schedules``       hash   standing prefetch -> what it is, as JSON
    ``schedules:due``   zset   standing prefetch -> when it runs next; without those that are paused
    ``schedules:paused`` set   the standing prefetches that are paused
    ``schedules:runs``  hash   standing prefetch -> its last run, as JSON
    ``schedules:clock`` string the lock of the worker that begins their runs
    ``job:<id>``        hash   a job's options and counts
    ``job:<id>:…``             its samples: ``uris``, ``states``, ``attempts``, ``failures``
    =================== ====== ====================================================================
    """

    def __init__(self, volume: str) -> None:
        self.prefix = f"forebay:{{{volume}}}:"
        self.meta = self.prefix + "meta"
        self.entries = self.prefix + "entries"
        self.atime = self.prefix + "atime"
        self.atime_leased = self.prefix + "atime:leased"
        self.leased = self.prefix + "leased"
        self.leases = self.prefix + "leases"
        self.claims = self.prefix + "claims"
        self.sessions = self.prefix + "sessions"
        self.reserved = self.prefix + "reserved"
        self.shares = self.prefix + "shares"
        self.owners = self.prefix + "owners"
        self.quotas = self.prefix + "quotas"
        self.evictor = self.prefix + "evictor"
        self.maintenance = self.prefix + "maintenance"
        self.upkeep = self.prefix + "upkeep"
        self.recovery = self.prefix + "recovery"
        self.workers = self.prefix + "workers"
        self.jobs = self.prefix + "jobs"
        self.schedules = self.prefix + "schedules"
        self.schedules_due = self.prefix + "schedules:due"
        self.schedules_paused = self.prefix + "schedules:paused"
        self.schedule_runs = self.prefix + "schedules:runs"
        self.schedule_clock = self.prefix + "schedules:clock"
        self.counters = self.prefix + "counters"
        self.counted_sources = self.prefix + "counters:sources"
        self.counted_lately = self.prefix + "counters:recent"

    def all(self) -> list[str]:
        """Every key that has a fixed name."""
        return [value for name, value in vars(self).items() if name not in ("prefix", "recovery")]

    def counted_by(self, process: str) -> str:
        """The number of the last request by which a process added to the counters."""
        return f"{self.prefix}counters:flush:{process}"

    def lease(self, lease: str) -> str:
        """The set of a lease's entries."""
        return f"{self.prefix}lease:{lease}"

    def job(self, job: str, part: str = "") -> str:
        """A job's hash, or one ``part`` of its ledger."""
        return f"{self.prefix}job:{job}" + (f":{part}" if part else "")
