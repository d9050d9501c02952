"""Short storms of a fixed seed see nothing that must not be; `make chaos` has the long ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.storm import storm
from tests.chaos.storm_crew import Crew, Member
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import Volume

SECONDS = 60.0


# Its end waits for whatever is under way, which takes long on a busy machine.
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("seed", "sentinels"), [pytest.param(4, False, id="one Redis"), pytest.param(7, True, id="Sentinels")]
)
def test_a_short_storm_sees_nothing_that_must_not_be(tmp_path: Path, seed: int, sentinels: bool) -> None:
    seen = storm(seed, SECONDS, tmp_path, sentinels=sentinels)

    arguments = f"SEED={seed} MINUTES={SECONDS / 60:g} CHAOS_ARGS={'--sentinels' if sentinels else ''}"
    assert not seen.wrong, "\n".join([*seen.wrong, f"to repeat it: make chaos {arguments}"])
    # It was a storm, and somebody looked.
    assert len(seen.faults) >= 5
    for work in ("samples", "looks at the disks", "objects whose downloads were counted"):
        assert seen.work[work], f"no {work}"


def test_a_worker_that_ends_at_the_very_end_is_judged_as_any_other(tmp_path: Path) -> None:
    # Given a worker that could not start, and ended after the last look at it
    seen, output = Seen(), tmp_path / "log"
    output.write_text("error: No space is left\n")
    crew = Crew(tmp_path, [], {}, 0, seen, may_go_back=False)
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(2)"], start_new_session=True)
    process.wait()
    volume = Volume("a", tmp_path, is_small=False, settings={})
    crew.workers.append(Member(process, volume, output, "worker-0-a"))

    # When all workers are told to end
    crew.workers_end()

    # Then it counts as one that said that it cannot start
    assert not seen.wrong
    assert seen.work["workers that said that they cannot start"] == 1
