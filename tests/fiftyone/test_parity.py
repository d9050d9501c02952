"""With the adapter on, everything local stays as it was: each call of `tests.fiftyone.parity`.

What is compared is the result or the error, what FiftyOne says meanwhile, and the files that are new,
changed or gone afterwards.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fiftyone import media_files
from tests.fiftyone.parity import media
from tests.fiftyone.parity.every_call import CALLS
from tests.fiftyone.since import reason_to_skip

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture(scope="module")
def results(
    imported_fiftyone: Any, fiftyone_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """The outcomes of all calls, ``without`` the adapter and ``with`` it."""
    folder = tmp_path_factory.mktemp("parity")
    media.write(folder / "media")
    running = {}
    for how, module in (("without", ""), ("with", "forebay.fiftyone")):
        # The same length for both: FiftyOne shortens long paths in messages.
        directory = folder / f"{how:-<7}"
        directory.mkdir()
        environment = os.environ | fiftyone_environment
        environment |= {"FIFTYONE_MODULE_PATH": module, "FIFTYONE_DATABASE_NAME": f"parity-{how}"}
        # Sets are in the same order then.
        environment |= {"PYTHONHASHSEED": "0"}
        with (folder / f"{how}.json").open("w") as output, (folder / f"{how}.log").open("w") as log:
            running[how] = subprocess.Popen(
                [sys.executable, "-m", "tests.fiftyone.parity", str(folder / "media"), str(directory)],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
            )
    try:
        for how, process in running.items():
            assert process.wait(timeout=1400) == 0, (folder / f"{how}.log").read_text()[-3000:]
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return {how: json.loads((folder / f"{how}.json").read_text()) for how in running}


def test_one_process_had_the_adapter_and_the_other_had_not(results: dict[str, dict[str, Any]]) -> None:
    assert results["without"]["adapter"] is False
    assert results["with"]["adapter"] is True


@pytest.mark.parametrize("name", CALLS)
def test_stays_as_it_was(name: str, results: dict[str, dict[str, Any]]) -> None:
    if CALLS[name].video:
        media_files.needs_ffmpeg()
    since = CALLS[name].since
    if since is not None and (reason := reason_to_skip(since, name)):
        pytest.skip(reason)
    without = results["without"][name]
    assert ("error" in without) is CALLS[name].fails, without.get("error", "there was no error")
    assert results["with"][name] == without
