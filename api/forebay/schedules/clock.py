"""Begins the runs of standing prefetches that are due, and writes down how they end.

The workers of a volume look every few seconds, one at a time: the one that holds the lock. Beginning a run
changes in one script when the next is due, so that each is begun once. A run whose worker was killed before
its job had started is begun anew by the next worker that gets the lock, with another job; the old one is
forgotten.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from forebay import logs
from forebay.engine import Engine
from forebay.errors import ForebayError, IndexUnavailableError
from forebay.fetch.wanted_parts import parts_of_text
from forebay.index import Index
from forebay.index.schedule_records import ScheduleRecord
from forebay.jobs import ledger
from forebay.jobs.listed_samples import Samples
from forebay.jobs.status import JobStatus
from forebay.manifests.target_samples import samples_of_targets
from forebay.schedules.definition import Definition, ScheduledRun

log = logging.getLogger(__name__)

# A listing extends it with every page. It is short, so that another worker takes over soon.
LOCK_SECONDS = 15.0


class Clock:
    """The clock of one worker.

    Args:
        engine: of the worker's cache.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def tick(self) -> None:
        """Looks after every standing prefetch of the volume, unless another worker does.

        Raises:
            IndexUnavailableError: Redis does not come back; what was begun is taken over.
        """
        index = self._engine.open_index()
        with index.locks.hold(index.keys.schedule_clock, LOCK_SECONDS) as lock:
            if lock is None:
                return
            for name, record in index.schedules.all().items():
                definition = Definition.parse(record.text)
                if definition is None:
                    log.warning(
                        "schedule %s: what Redis holds of it cannot be read; remove it, and add it again",
                        name,
                    )
                elif not lock.extend():
                    return
                else:
                    self._look_alone(index, name, definition, record, lock.extend)

    def _look_alone(
        self,
        index: Index,
        name: str,
        definition: Definition,
        record: ScheduleRecord,
        keep_lock: Callable[[], object],
    ) -> None:
        """Looks after one standing prefetch; whatever is wrong with it, the others have their turn."""
        try:
            self._look(index, name, definition, record, keep_lock)
        except IndexUnavailableError:
            raise
        except Exception:
            log.exception("schedule %s failed unexpectedly", name)

    def _look(
        self,
        index: Index,
        name: str,
        definition: Definition,
        record: ScheduleRecord,
        keep_lock: Callable[[], object],
    ) -> None:
        run, text, now = ScheduledRun.parse(record.run), record.run, index.connection.time()
        if run is not None and run.state == "running":
            run, text = self._settle(index, name, run, text, has_lease=definition.lease is not None)
        if run is not None and run.state == "starting":
            # Its worker held the lock, which is this one's now.
            self._take_over(index, name, definition, run, text, keep_lock)
        elif record.due is not None and record.due <= now and not (run is not None and run.is_active):
            leases = () if run is None else run.leases
            begun = ScheduledRun("starting", ledger.new_id(), due=record.due, begun=now, leases=leases)
            following = definition.next_time(record.due, now)
            if index.schedules.begin(name, record.due, following, text, begun.text()):
                self._start(index, name, definition, begun, keep_lock)

    def _take_over(
        self,
        index: Index,
        name: str,
        definition: Definition,
        run: ScheduledRun,
        text: str,
        keep_lock: Callable[[], object],
    ) -> None:
        fields = index.jobs.read(run.job)
        if fields.keys() & {"enqueued", "runner", "finished"}:
            index.schedules.note(name, text, replace(run, state="running").text())
            return
        log.warning("schedule %s: the worker that began its run has ended; this one begins it anew", name)
        index.jobs.delete(run.job)
        index.leases.end(f"job-{run.job}")
        begun = replace(run, job=ledger.new_id(), begun=time.time())
        if index.schedules.note(name, text, begun.text()):
            self._start(index, name, definition, begun, keep_lock)

    def _start(
        self,
        index: Index,
        name: str,
        definition: Definition,
        run: ScheduledRun,
        keep_lock: Callable[[], object],
    ) -> None:
        """Makes and starts the job of a run that is this worker's."""
        text = run.text()
        with logs.about(run.job):
            log.info("schedule %s: job %s begins", name, run.job)
            try:
                job = self._engine.open_job_maker().create_listed(
                    _kept(self._samples(definition), keep_lock),
                    definition.update,
                    definition.lease,
                    parts=parts_of_text(definition.parts),
                    job=run.job,
                )
                if index.schedules.note(name, text, text):
                    job.start()
                    index.schedules.note(name, text, replace(run, state="running").text())
                else:
                    # This process was paused, and another has taken over.
                    job.forget()
                    index.leases.end(f"job-{run.job}")
            except IndexUnavailableError:
                raise
            except Exception as error:
                log.error("schedule %s: %s", name, error, exc_info=not isinstance(error, ForebayError))
                ended = replace(run, state="failed", job="", ended=time.time(), error=str(error))
                index.schedules.note(name, text, ended.text())

    def _samples(self, definition: Definition) -> Iterator[Samples]:
        return samples_of_targets(
            self._engine, definition.targets, definition.options(), definition.include, definition.exclude
        )

    def _settle(
        self, index: Index, name: str, run: ScheduledRun, text: str, *, has_lease: bool
    ) -> tuple[ScheduledRun, str]:
        """Writes down how a run has ended, if it has. Its lease replaces those of the runs before it if all
        of its samples are there; otherwise those stay as well, until they expire."""
        fields = index.jobs.read(run.job)
        status = JobStatus.parse(run.job, fields) if "created" in fields else None
        if status is not None and status.state == "running":
            return run, text
        ended = replace(run, state="failed", ended=time.time(), error="its job was forgotten")
        if status is not None:
            is_whole = status.state == "done" and not status.failed
            leases = run.leases
            if has_lease and is_whole:
                for lease in leases:
                    index.leases.end(lease)
                leases = ()
            ended = replace(
                run,
                state="done" if is_whole else "failed",
                ended=status.created + status.elapsed_seconds,
                total=status.total,
                downloaded=status.downloaded,
                failed=status.failed,
                error="its job was cancelled" if status.state == "cancelled" else "",
                leases=(*leases, f"job-{run.job}") if has_lease else (),
            )
        after = ended.text()
        # One that another has changed, or removed, is looked at again in the next round.
        return (ended, after) if index.schedules.note(name, text, after) else (run, text)


def _kept(found: Iterator[Samples], keep_lock: Callable[[], object]) -> Iterator[Samples]:
    for samples in found:
        keep_lock()
        yield samples
