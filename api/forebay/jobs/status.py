"""The status of a job."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from forebay.config.sizes import human, span
from forebay.tables import Number, clock, described

JobState = Literal["running", "done", "cancelled"]
"""``running``, ``done`` (every sample is cached or has failed) or ``cancelled``."""

_COUNTS = ("total", "cached", "downloaded", "failed", "pending", "bytes")


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job at one moment.

    Attributes:
        id: the job's id.
        state: ``running``, ``done`` (every sample ended, in one way or the other), ``cancelled``.
        dispatch: ``local`` if threads of one process download the samples, ``fleet`` if workers do.
        total: number of samples.
        cached: samples that were cached already.
        downloaded: samples that were downloaded.
        failed: samples that failed.
        pending: samples that have not ended yet.
        bytes: downloaded bytes.
        elapsed_seconds: since it was created, until it ended.
        rate: downloaded bytes a second.
        samples_per_second: samples that ended a second, without those that were cached already.
        eta_seconds: an estimate of the time left; ``None`` before the first sample has ended, and while
            samples are still being listed.
        created: when it was created, in seconds since the epoch.
        lease: the name of the lease on its samples; ``None`` if it was created without one.
        listing: whether its samples are still being listed: there are at least ``total``.
    """

    id: str
    state: JobState
    dispatch: str
    total: int
    cached: int
    downloaded: int
    failed: int
    pending: int
    bytes: int
    elapsed_seconds: float
    rate: float
    samples_per_second: float
    eta_seconds: float | None
    created: float
    lease: str | None
    listing: bool = False

    @classmethod
    def parse(cls, job: str, fields: dict[str, str]) -> JobStatus:
        """The status of a job, from the fields of its record."""
        counts = {name: int(fields.get(name, 0)) for name in _COUNTS}
        created = float(fields["created"])
        ended = float(fields["finished"]) if "finished" in fields else None
        state: JobState = "running"
        listing = "lister" in fields
        if counts["pending"] == 0 and not listing:
            state = "done"
        elif fields.get("cancelled"):
            state, ended = "cancelled", float(fields["updated"])
        elapsed = max((ended or time.time()) - created, 1e-9)
        processed = counts["total"] - counts["pending"] - int(fields.get("present", 0))
        pace = processed / elapsed
        return cls(
            id=job,
            state=state,
            dispatch=fields.get("dispatch", ""),
            **counts,
            elapsed_seconds=elapsed,
            rate=counts["bytes"] / elapsed,
            samples_per_second=pace,
            eta_seconds=counts["pending"] / pace if pace and state == "running" and not listing else None,
            created=created,
            lease=fields.get("lease") or None,
            listing=listing,
        )

    @classmethod
    def of_loop(cls, *, total: int, passed: int, failed: int, elapsed_seconds: float) -> JobStatus:
        """The status of a loop over paths, as that of a job, for progress bars."""
        pace = passed / max(elapsed_seconds, 1e-9)
        return cls(
            id="",
            state="running" if passed < total else "done",
            dispatch="",
            total=total,
            cached=passed - failed,
            downloaded=0,
            failed=failed,
            pending=total - passed,
            bytes=0,
            elapsed_seconds=elapsed_seconds,
            rate=0.0,
            samples_per_second=pace,
            eta_seconds=(total - passed) / pace,
            created=time.time() - elapsed_seconds,
            lease=None,
        )

    @property
    def total_shown(self) -> str:
        """``total`` for people: ``≥12,000`` while samples are still being listed."""
        return f"≥{self.total:,}" if self.listing else f"{self.total:,}"

    def _cells(self) -> dict[str, str]:
        return {
            "job": self.id,
            "state": self.state,
            "by": self.dispatch,
            "samples": Number(f"{self.total - self.pending:,}/{self.total_shown}"),
            "cached": Number(f"{self.cached:,}"),
            "downloaded": Number(f"{self.downloaded:,}"),
            "failed": Number(f"{self.failed:,}"),
            "bytes": Number(human(self.bytes)),
            "took": Number(span(self.elapsed_seconds)),
            "created": clock(self.created),
            "lease": self.lease or "",
        }

    def _repr_html_(self) -> str:
        return described(self._cells())

    def as_dict(self) -> dict[str, Any]:
        """All attributes by name, for JSON."""
        return asdict(self)
