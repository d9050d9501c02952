"""A short storm of a fixed seed sees nothing that must not be; `make chaos` has the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.storm import storm

SEED = 4
SECONDS = 30.0


# Its end waits for whatever is under way, which takes long on a busy machine.
@pytest.mark.timeout(600)
def test_a_short_storm_sees_nothing_that_must_not_be(tmp_path: Path) -> None:
    seen = storm(SEED, SECONDS, tmp_path)

    assert not seen.wrong, "\n".join([*seen.wrong, f"to repeat it: make chaos SEED={SEED} MINUTES=0.5"])
    # It was a storm, and somebody looked.
    assert len(seen.faults) >= 5
    for work in ("samples", "looks at the disks", "objects whose downloads were counted"):
        assert seen.work[work], f"no {work}"
