"""Short storms of a fixed seed see nothing that must not be; `make chaos` has the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.storm import storm

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
