"""The index of one volume: everything that Redis knows about it, as typed calls.

None of the calls decides anything; the decisions that must be atomic are in the Lua scripts, the others
in `forebay.fetch` and `forebay.eviction`.
"""

from __future__ import annotations

from forebay.index.claims import Claims
from forebay.index.connection import Connection
from forebay.index.counter_totals import CounterTotals
from forebay.index.entries import Entries
from forebay.index.job_records import JobRecords
from forebay.index.keys import Keys
from forebay.index.lease_records import Leases
from forebay.index.locks import Locks
from forebay.index.overview import Overview, Overviews
from forebay.index.quotas import Quotas
from forebay.index.registry import VolumeRegistry
from forebay.index.reservations import Reservations
from forebay.index.schedule_records import ScheduleRecords
from forebay.index.sessions import Sessions
from forebay.index.shares import Shares
from forebay.index.victims import Victims
from forebay.index.volume_state import VolumeState
from forebay.index.workers import Workers


class Index:
    """One volume's index on one Redis.

    Args:
        connection: to the Redis; of a cluster, to any of its nodes.

    Attributes:
        connection: to the server that has the volume's keys.
        volume: the volume's name.
        keys: the names of its keys.
    """

    def __init__(self, connection: Connection, volume: str) -> None:
        self.volume = volume
        self.keys = keys = Keys(volume)
        self.volumes = VolumeRegistry(connection)
        self.connection = connection = connection.of(keys.prefix)
        self.entries = Entries(connection, keys)
        self.sessions = Sessions(connection, keys)
        self.shares = Shares(connection, keys)
        self.quotas = Quotas(connection, keys)
        self.claims = Claims(connection, keys)
        self.reservations = Reservations(connection, keys)
        self.victims = Victims(connection, keys)
        self.leases = Leases(connection, keys)
        self.locks = Locks(connection, keys)
        self.counters = CounterTotals(connection, keys)
        self.state = VolumeState(connection, keys)
        self.jobs = JobRecords(connection, keys)
        self.schedules = ScheduleRecords(connection, keys)
        self.workers = Workers(connection, keys)

    def overview(self) -> Overview:
        """The volume at this moment, for monitoring."""
        return Overviews(self.connection, self.keys).take(self.volumes.find(self.volume))

    def forget(self) -> None:
        """Removes everything that Redis knows of the volume, its jobs and leases included."""
        for job in self.jobs.all():
            self.jobs.delete(job)
        leases = [self.keys.lease(lease) for lease, _, _ in self.leases.all()]
        self.connection.command("unlink", *self.keys.all(), *leases)
        self.volumes.forget(self.volume)
