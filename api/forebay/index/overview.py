"""An overview of one volume, as Redis knows it at one moment, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.index.job_records import sound_fields
from forebay.index.part import Part
from forebay.index.records import clock_ahead
from forebay.index.registry import VolumeRecord
from forebay.index.workers import Worker, workers_of


@dataclass(frozen=True, slots=True)
class Overview:
    """A volume at one moment.

    Attributes:
        record: the last announcement of the volume; ``None`` before the first.
        sessions: processes that claim and reserve.
        leases: that have not expired.
        claims: on entries that are to be downloaded or evicted.
        workers: that are alive, or ended lately without a clean stop.
        jobs: the fields of each job, by its id; the oldest first.
    """

    record: VolumeRecord | None
    sessions: int
    leases: int
    claims: int
    workers: list[Worker]
    jobs: dict[str, dict[str, str]]


class Overviews(Part):
    """Takes overviews of one volume, in two round trips."""

    def take(self, record: VolumeRecord | None) -> Overview:
        """The overview now.

        Args:
            record: the last announcement of the volume.
        """
        k = self._keys
        sessions, leases, claims, workers, jobs, now = self._connection.pipeline(
            ("zrange", k.sessions, 0, -1, False, True),
            ("zrange", k.leases, 0, -1, False, True),
            ("hlen", k.claims),
            ("hgetall", k.workers),
            ("zrange", k.jobs, 0, -1),
            ("time",),
        )
        found = self._connection.pipeline(*(("hgetall", k.job(job)) for job in jobs)) if jobs else []
        ahead, seconds = clock_ahead(now), now[0]
        fields = {job: sound_fields(values, ahead) for job, values in zip(jobs, found, strict=True)}
        fields = {job: values for job, values in fields.items() if "created" in values}
        return Overview(
            record=record,
            sessions=sum(expiry > seconds for _, expiry in sessions),
            leases=sum(expiry > seconds for _, expiry in leases),
            claims=int(claims),
            workers=workers_of(workers, ahead),
            jobs=fields,
        )
