"""A training loop of two ranks over photographs behind a server that answers late: its input wait.

``python -m bench.training`` runs it over Forebay, over boto3 in ``__getitem__``, over LitData's
`StreamingRawDataset` where that is installed, and over local files; then over Forebay once more, killed in
the middle and started again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median

from bench.access_log import ACCESS_LOG, parse
from bench.corpus import Corpus
from bench.place import clean_up_when_terminated, scratch
from bench.report import aligned, spread
from bench.server import LATE_SECONDS, Endpoint, nginx
from bench.server.certificates import make_certificates
from bench.server.configuration import Listener, configuration, lua_modules, sleeping
from bench.server.listings import write_maps
from bench.settings import forget_settings
from bench.tools import forebay
from bench.tools.task import PROGRAMS, Task
from examples.photos import photographs
from tests.servers.process import free_ports

_RANKS = 2
# So many are made, and repeated under other names: the bytes are what counts.
_PHOTOGRAPHS = 200
_WAYS = {
    "local": "local files",
    "forebay": "`forebay.torch`, empty cache",
    "again": "`forebay.torch`, all cached",
    "litdata": "LitData `StreamingRawDataset`",
    "boto3": "boto3 in `__getitem__`",
}
_HEAD = (
    "",
    "input wait ms a step",
    "min–max",
    "longest ms",
    "first ms",
    "of the loop",
    "loop s",
    "GETs an object",
)


@dataclass(frozen=True)
class _Scale:
    """How much is done: photographs, processes of each loader, samples and seconds of a step."""

    photographs: int
    processes: int
    batch: int
    step: float


@dataclass(frozen=True)
class _Loop:
    """What one run took, over all ranks.

    Attributes:
        waits: how long each step waited for its input, in seconds; the first ones apart.
        first: until the longest of the ranks had its first training batch.
        seconds: of the slowest rank.
        gets: requests for each object.
    """

    waits: list[float]
    first: float
    seconds: float
    gets: Counter[str]

    @property
    def mean_wait(self) -> float:
        return sum(self.waits) / len(self.waits)


class _Bench:
    """The server, its objects, and the directory of the runs."""

    def __init__(self, place: Path, corpus: Corpus, endpoint: Endpoint, scale: _Scale) -> None:
        self._place, self._corpus, self._endpoint, self._scale = place, corpus, endpoint, scale
        self._log = place / "nginx" / "access.log"
        self._groups = 0
        self.uris = corpus.write_list(place / "uris")

    def run(self, way: str) -> _Loop:
        """Runs a loop to its end."""
        (self._place / "run").mkdir(exist_ok=True)
        before = len(self._paths())
        outputs = [rank.communicate()[0] for rank in self._start("forebay" if way == "again" else way)]
        found = [json.loads(output.splitlines()[-1]) for output in outputs]
        return _Loop(
            [wait for rank in found for wait in rank["waits"][1:]],
            max(rank["waits"][0] for rank in found),
            max(rank["seconds"] for rank in found),
            Counter(self._paths()[before:]),
        )

    def run_killed(self) -> tuple[int, Counter[str]]:
        """Kills the main process of each rank, starts them again; what was fetched before, and in all."""
        (self._place / "run").mkdir(exist_ok=True)
        before = len(self._paths())
        # Their loaders' processes say that they have lost their parent.
        ranks, early = self._start("forebay", errors=subprocess.DEVNULL), self._scale.photographs // 10
        while self._position() < early:
            time.sleep(0.01)
        for rank in ranks:
            rank.send_signal(signal.SIGKILL)
        for rank in ranks:
            rank.wait()
        there = len(self._paths()) - before
        for rank in self._start("forebay"):
            rank.communicate()
        return there, Counter(self._paths()[before:])

    def forget(self) -> None:
        """Begins with an empty cache again."""
        with forebay.stopping(self._cache_dir):
            pass
        shutil.rmtree(self._place / "run", ignore_errors=True)

    @property
    def _cache_dir(self) -> Path:
        return self._place / "run" / "cache"

    def _paths(self) -> list[str]:
        return [answer.path for answer in parse(self._log.read_text()) if answer.status == 200]

    def _position(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int(json.loads((self._place / "run" / "position-0").read_text())["start"])
        return 0

    def _start(self, way: str, errors: int | None = None) -> list[subprocess.Popen[str]]:
        self._groups += 1
        task = Task(self._corpus, self._corpus, self._endpoint, self._place)
        environment = os.environ | forebay.environment(task, self._cache_dir)
        environment |= {"GROUP": str(self._groups), "OMP_NUM_THREADS": "1"}
        scale = self._scale
        return [
            subprocess.Popen(
                [
                    *(sys.executable, str(PROGRAMS / "torch_loop.py"), way, str(self.uris)),
                    *(str(self._corpus.root), str(rank), str(_RANKS), str(self._place / "run")),
                    *(str(scale.processes), str(scale.batch), str(scale.step)),
                ],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            for rank in range(_RANKS)
        ]


def main() -> None:
    """Runs each way in turn, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.training", description=__doc__)
    parser.add_argument("--photographs", type=int, default=5000)
    parser.add_argument("--processes", type=int, default=4, help="of the loader of each rank")
    parser.add_argument("--batch", type=int, default=32, help="samples of a step")
    parser.add_argument("--step", type=float, default=0.1, metavar="SECONDS", help="of the model")
    parser.add_argument(
        "--late", type=float, default=LATE_SECONDS, metavar="SECONDS", help="until the answer"
    )
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    scale = _Scale(options.photographs, options.processes, options.batch, options.step)
    forget_settings()
    clean_up_when_terminated()
    ways = [way for way in _WAYS if way != "litdata" or find_spec("litdata")]
    loops: dict[str, list[_Loop]] = {way: [] for way in ways}
    load = os.getloadavg()[0]
    with (
        scratch(3 * options.photographs * 80_000, None) as place,
        _serving(place, scale, options.late) as bench,
    ):
        for number in range(options.rounds):
            for way in ways:
                if way != "again":
                    bench.forget()
                loops[way].append(bench.run(way))
                wait = 1e3 * loops[way][-1].mean_wait
                print(f"round {number + 1}: {way}: {wait:.0f} ms a step", file=sys.stderr, flush=True)
        bench.forget()
        there, gets = bench.run_killed()
        bench.forget()
    print(
        f"{scale.photographs:,} photographs, {1e3 * options.late:.0f} ms before each answer, {_RANKS} ranks "
        f"with {scale.processes} processes each, {scale.batch} samples a step of {1e3 * scale.step:.0f} ms; "
        f"{options.rounds} rounds, {os.cpu_count()} CPUs, "
        f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after\n"
    )
    print(aligned(_HEAD, [_row(_WAYS[way], done) for way, done in loops.items()]))
    twice = sum(times - 1 for times in gets.values())
    print(f"\nkilled after a tenth of the steps, with {there:,} objects fetched, and started again:")
    print(f"{len(gets):,} objects,", end=" ")
    print(f"{gets.total():,} requests, {twice} of them for an object that had been asked for before")


def _row(name: str, done: list[_Loop]) -> tuple[str, ...]:
    wait, limits = spread([1e3 * loop.mean_wait for loop in done], "{:.1f}".format)
    longest = median(1e3 * max(loop.waits) for loop in done)
    share = median(loop.mean_wait * len(loop.waits) / _RANKS / loop.seconds for loop in done)
    gets = median(loop.gets.total() / max(1, len(loop.gets)) for loop in done)
    return (
        name,
        wait,
        limits,
        f"{longest:.0f}",
        f"{median(1e3 * loop.first for loop in done):.0f}",
        f"{share:.1%}",
        f"{median(loop.seconds for loop in done):.1f}",
        f"{gets:.2f}" if done[0].gets else "0",
    )


@contextlib.contextmanager
def _serving(place: Path, scale: _Scale, late: float) -> Iterator[_Bench]:
    if not lua_modules():
        raise RuntimeError("this needs nginx's Lua module, which answers late: libnginx-mod-http-lua")
    directory = place / "nginx"
    directory.mkdir()
    make_certificates(directory)
    corpus = _corpus(place / "root", scale.photographs)
    write_maps(directory, [corpus])
    (port,) = free_ports()
    directives = f"access_log {directory}/access.log brief; {sleeping(late)}"
    text = configuration(
        place / "root",
        directory,
        {"late": Listener(port, directives=directives)},
        modules=lua_modules(),
        http=ACCESS_LOG,
    )
    with nginx(text, directory, port):
        yield _Bench(place, corpus, Endpoint(f"http://127.0.0.1:{port}"), scale)


def _corpus(root: Path, count: int) -> Corpus:
    """A bucket of photographs, no two of which are alike."""
    (root / "photos").mkdir(parents=True)
    bodies = [body for _, body in islice(photographs(_PHOTOGRAPHS), count)]
    digests, sizes = {}, []
    for number in range(count):
        key, body = f"{number:06}.jpg", bodies[number % len(bodies)] + b"%d" % number
        (root / "photos" / key).write_bytes(body)
        digests[key] = md5(body, usedforsecurity=False).hexdigest()
        sizes.append(len(body))
    return Corpus(root, "photos", sizes, digests)


if __name__ == "__main__":
    main()
