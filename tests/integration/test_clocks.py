"""Machines whose clocks were ahead leave times behind that lie in the future; these put nothing off."""

from __future__ import annotations

import time

import pytest

from forebay.jobs.monitor import requeue_if_stalled
from tests.caches import MakeCache
from tests.servers.workers import worker

HOUR = 3600.0


def test_the_maintenance_runs(make_cache: MakeCache) -> None:
    cache = make_cache()
    maintenance, state = cache.engine.open_maintenance(), cache.engine.open_index().state
    maintenance.run(force=True)

    for part in ("maintained", "swept", "forgotten"):
        state.note_upkeep(part, time.time() + HOUR)

    assert maintenance.run()
    # What has a time of its own is done again, too.
    done = state.upkeep()
    assert max(done.maintained, done.swept, done.forgotten) <= time.time()


@pytest.mark.usefixtures("s3_environment")
def test_what_a_job_has_lost_is_enqueued_again(make_cache: MakeCache) -> None:
    # Given a job whose messages are lost, and whose last update came from a clock that was ahead
    cache = make_cache(dispatch="fleet")
    with worker(cache) as process:
        # It looks alive for a while.
        process.kill()
        job = cache.download_media(["s3://bucket/a.jpg", "s3://bucket/b.jpg"], wait=False)
        jobs, dispatcher = cache.engine.open_index().jobs, cache.engine.open_dispatcher()
        jobs.write(job.id, updated=time.time() + HOUR)

        assert requeue_if_stalled(dispatcher, job.id, jobs.read(job.id)) == 2
