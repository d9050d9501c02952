"""Makes every call: ``python -m tests.fiftyone.parity MEDIA DIRECTORY [NAME...]``; prints JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

from tests.fiftyone import torchvision_operators
from tests.fiftyone.parity import every_call, record


def main(media: Path, directory: Path, names: list[str]) -> dict[str, object]:
    """The outcomes of the calls, by name."""
    torchvision_operators.declare()
    import fiftyone as fo

    made: dict[str, object] = {"adapter": "forebay.fiftyone" in sys.modules}
    for number, wanted in enumerate(every_call.CALLS.values()):
        if not names or wanted.name in names:
            print(wanted.name, file=sys.stderr, flush=True)
            made[wanted.name] = record.make(wanted, media, directory / f"call-{number}", fo)
    return made


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        results = main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), sys.argv[3:])
    json.dump(results, sys.stdout, indent=1)
