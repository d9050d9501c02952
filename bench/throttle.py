"""A server that allows a number of requests a second and answers 503 to the rest, until the limit is lifted.

``python -m bench.throttle --write`` runs one process, then eight at once, and writes the figures into
``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.access_log import ACCESS_LOG, parse, rates, shares
from bench.corpus import Corpus
from bench.page import write_block
from bench.place import clean_up_when_terminated, scratch
from bench.report import aligned, markdown
from bench.server import Endpoint, nginx, reload
from bench.server.certificates import make_certificates
from bench.server.configuration import Listener, configuration
from bench.server.listings import write_maps
from bench.settings import forget_settings
from bench.tools import forebay
from bench.tools.task import Task
from tests.servers.process import free_ports

_SIZE = 20_000
_PATIENCE_SECONDS = 60.0
# The first seconds are those of finding out how much is allowed.
_BEGINNING_SECONDS = 3.0
_HEAD = (
    "processes",
    "limit /s",
    "reached /s",
    "of the limit",
    "503 answers",
    "after the lift /s",
    "slowest / fastest process",
    "failed samples",
)


@dataclass(frozen=True)
class Found:
    """What one run found.

    Attributes:
        limited: answers 200 a second while the limit held, without the first seconds.
        refused: answers 503.
        lifted: answers 200 in the best second after the limit was lifted.
        shares: samples that each process had while the limit held.
        failed: samples of all jobs.
    """

    processes: int
    rate: int
    limited: float
    refused: int
    lifted: float
    shares: Sequence[int]
    failed: int

    @property
    def row(self) -> tuple[str, ...]:
        fairness = min(self.shares) / max(self.shares) if max(self.shares) else 0.0
        figures = (f"{self.limited:.0f}", f"{self.limited / self.rate:.2f}x", f"{self.refused:,}")
        return (
            str(self.processes),
            str(self.rate),
            *figures,
            f"{self.lifted:,.0f}",
            f"{fairness:.2f}" if self.processes > 1 else "",
            str(self.failed),
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.throttle", description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="requests a second that are allowed")
    parser.add_argument("--seconds", type=float, default=20, help="until the limit is lifted")
    parser.add_argument("--objects", type=int, default=12_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    rows = []
    for processes in options.processes:
        with scratch(3 * options.objects * _SIZE, None) as place:
            rows.append(_measure(place, processes, options.rate, options.seconds, options.objects).row)
            print(aligned(_HEAD, rows[-1:]), flush=True)
    note = (
        f"{options.objects:,} objects of {_SIZE:,} bytes. The rates are those of answers 200 by nginx's log: "
        f"on average over the {options.seconds:.0f} s that begin {_BEGINNING_SECONDS:.0f} s after the last "
        "process has its first object, and in the best second after the limit was lifted."
    )
    if options.write:
        write_block("throttle", f"{note}\n\n{markdown(_HEAD, rows)}")


def _measure(place: Path, processes: int, rate: int, seconds: float, objects: int) -> Found:
    """Runs so many processes, each with its own cache and its own share of the objects."""
    corpora = [
        Corpus.make(place / "root", f"part-{n}", objects // processes, _SIZE) for n in range(processes)
    ]
    with _server(place, corpora, rate) as (endpoint, lift), contextlib.ExitStack() as stack:
        running = []
        for number, corpus in enumerate(corpora):
            here = place / f"process-{number}"
            here.mkdir()
            stack.enter_context(forebay.stopping(here / "cache"))
            environment = forebay.environment(Task(corpus, corpus, endpoint, here), here / "cache")
            uris = corpus.write_list(here / "uris")
            running.append(_start(forebay.prefetch(uris), environment, here))
        log, buckets = place / "nginx" / "access.log", [corpus.bucket for corpus in corpora]
        begin = _wait_for_all(log, buckets)
        time.sleep(_BEGINNING_SECONDS + seconds)
        lifted_at = lift()
        failed = [_failed(process, place / f"process-{n}") for n, process in enumerate(running)]
    answers = parse(log.read_text())
    limited, lifted = rates(answers, begin, lifted_at)
    return Found(
        processes,
        rate,
        limited,
        sum(answer.status == 503 for answer in answers),
        lifted,
        shares(answers, begin, lifted_at, buckets),
        sum(failed),
    )


def _wait_for_all(log: Path, buckets: Sequence[str]) -> float:
    """Waits until every process has had an answer; gives the moment from which the rate is counted."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not all(shares(parse(log.read_text()), 0.0, math.inf, buckets)):
        if time.monotonic() > deadline:
            raise RuntimeError("a process has fetched nothing within a minute")
        time.sleep(0.1)
    return time.time() + _BEGINNING_SECONDS


@contextlib.contextmanager
def _server(
    place: Path, corpora: Sequence[Corpus], rate: int
) -> Iterator[tuple[Endpoint, Callable[[], float]]]:
    directory = place / "nginx"
    directory.mkdir()
    make_certificates(directory)
    write_maps(directory, corpora)
    (port,) = free_ports()

    zone = f"{ACCESS_LOG}\nlimit_req_zone $server_port zone=all:1m rate={rate}r/s;"
    log = f"access_log {directory}/access.log brief;"
    # What S3 says when it is asked too often.
    refusal = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    limited = (
        f"{log} limit_req zone=all burst=20 nodelay; limit_req_status 503; error_page 503 @slow;\n"
        f"        location @slow {{ default_type application/xml; return 503 '{refusal}'; }}"
    )

    def text(directives: str) -> str:
        listeners = {"limited": Listener(port, directives=directives)}
        return configuration(place / "root", directory, listeners, modules=(), http=zone)

    with nginx(text(limited), directory, port) as process:

        def lift() -> float:
            moment = time.time()
            reload(process, text(log), directory)
            return moment

        yield Endpoint(f"http://127.0.0.1:{port}"), lift


def _start(command: list[str], environment: dict[str, str], place: Path) -> subprocess.Popen[bytes]:
    with (place / "output").open("wb") as output, (place / "errors").open("wb") as errors:
        return subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=errors)


def _failed(process: subprocess.Popen[bytes], place: Path) -> int:
    process.wait()
    lines = (place / "output").read_text().splitlines()
    if not lines:
        raise RuntimeError(f"a prefetch told nothing:\n{(place / 'errors').read_text()[-2000:]}")
    return int(json.loads(lines[-1])["failed"])


if __name__ == "__main__":
    main()
