"""A model that goes through remote photographs: how long its loop waits for them.

``python -m bench.ahead`` needs what the tests need: FiftyOne with its database, and SeaweedFS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.budgets import Verdict
from bench.place import scratch
from bench.process import run
from bench.report import aligned, spread, verdict_table
from bench.settings import forget_settings
from bench.tools import forebay
from bench.tools.task import PROGRAMS
from examples.photos import photographs
from tests.servers.mongodb import mongodb
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import seaweedfs

_PHOTOGRAPHS = 500
_MODEL_SECONDS = 0.02
_ANSWER_SECONDS = 0.05
_THREADS = 16

_WAYS = {
    "without_a_plan": "`local_path` on a miss",
    "download_first": "`download_media()` first",
    "apply_model": "`apply_model`, fetching ahead",
    "download_context": "`download_context()`",
    "data_loader": "`apply_model`, 2 loader workers",
}


@dataclass(frozen=True)
class _Loop:
    """One run of `fiftyone_loop.py`: seconds, and what the server sent.

    Attributes:
        empty, cached: of the whole loop, on an empty cache and on one that has everything.
        still: for which the first of them stood still for its files.
        first: until the model had its first sample.
        sent: bytes.
    """

    empty: float
    cached: float
    still: float
    first: float
    sent: int

    @property
    def waiting(self) -> float:
        return self.empty - self.cached


def main() -> None:
    """Runs a model over photographs behind a server that takes its time, in every way, in turn."""
    parser = argparse.ArgumentParser(prog="python -m bench.ahead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    forget_settings()
    default = os.cpu_count() or 1
    loops: dict[tuple[str, int], list[_Loop]] = {(way, n): [] for n in (_THREADS, default) for way in _WAYS}
    with scratch(400 << 20, None) as place, _servers(place) as (proxy, environment):
        for number in range(rounds):
            print(f"round {number + 1}:", end="", file=sys.stderr, flush=True)
            for (way, threads), done in loops.items():
                done.append(_run(way, threads, place, proxy, environment))
                print(f" {way}, {threads}: {done[-1].waiting:.2f} s", end=";", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    model, answer = _PHOTOGRAPHS * _MODEL_SECONDS, _ANSWER_SECONDS * 1e3
    print(f"{_PHOTOGRAPHS} photographs, {model:.0f} s of the model, answers after {answer:.0f} ms;")
    print("waiting is the loop's time beyond that of the same loop over cached files; what else the machine")
    print("does is in it. Standing still is the time that the loop spends on getting its files:\n")
    rows = []
    for (way, threads), done in loops.items():
        waiting, limits = spread([loop.waiting for loop in done], "{:.2f}".format)
        first, _ = spread([loop.first for loop in done], "{:.2f}".format)
        cached, _ = spread([loop.cached for loop in done], "{:.2f}".format)
        still, reach = spread([loop.still for loop in done], "{:.2f}".format)
        sent = median(loop.sent for loop in done) / 1e6
        rows.append((_WAYS[way], str(threads), waiting, limits, still, reach, first, cached, f"{sent:.1f}"))
    head = ("", "threads", "waiting s", "min–max", "still s", "min–max", "first s", "all cached s", "MB")
    print(aligned(head, rows))
    ahead, miss = loops["apply_model", _THREADS], loops["without_a_plan", _THREADS]
    ratio = median(a.still / b.still for a, b in zip(ahead, miss, strict=True))
    budget = Verdict.at_most("standing still, fetching ahead / on a miss", ratio, 0.05, "{:.3f}x")
    print("\n" + aligned(*verdict_table([budget])))


@contextlib.contextmanager
def _servers(place: Path) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """S3 with the photographs behind a slow proxy, and a database; their list is ``place / "uris"``."""
    with seaweedfs() as s3, s3.proxied() as proxy, mongodb() as database:
        bucket = s3.create_bucket("photos")
        uris = s3.put_many(bucket, dict(photographs(_PHOTOGRAPHS)))
        (place / "uris").write_text("\n".join(uris))
        yield (
            proxy,
            {
                **s3.environment(proxy.endpoint),
                "HOME": str(place),
                "FIFTYONE_DATABASE_URI": database,
                "FIFTYONE_DATABASE_VALIDATION": "false",
                "FIFTYONE_DO_NOT_TRACK": "true",
                "FIFTYONE_SHOW_PROGRESS_BARS": "false",
                "FIFTYONE_MODULE_PATH": "forebay.fiftyone",
                "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
            },
        )


def _run(way: str, threads: int, place: Path, proxy: Proxy, environment: dict[str, str]) -> _Loop:
    cache_dir = place / "cache"
    settings = {
        "FIFTYONE_MEDIA_CACHE_DIR": str(cache_dir),
        "FIFTYONE_MEDIA_CACHE_NUM_WORKERS": str(threads),
        "FIFTYONE_DATABASE_NAME": f"{way}-{threads}",
    }
    proxy.reset()
    proxy.fault(None, Fault(delay=_ANSWER_SECONDS), method=None)
    command = [
        sys.executable,
        str(PROGRAMS / "fiftyone_loop.py"),
        way,
        str(place / "uris"),
        str(_MODEL_SECONDS),
    ]
    with forebay.stopping(cache_dir):
        output = run(command, {**environment, **settings}).output
    sent = sum(request.sent for request in proxy.requests)
    shutil.rmtree(cache_dir)
    return _Loop(**json.loads(output.splitlines()[-1]), sent=sent)


if __name__ == "__main__":
    main()
