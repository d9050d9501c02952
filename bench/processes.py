"""A job through the fleet with one and more processes under one supervisor: objects a second, CPU and memory.

``python -m bench.processes`` alternates between the numbers of processes, and gives medians. Redis, nginx
and the process that waits for the job take CPU, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.corpus import Corpus
from bench.fleet import COMMAND, worker_is_alive
from bench.place import scratch
from bench.process import cpu_seconds
from bench.server import ENVIRONMENT, OWN_ETAGS, serving
from bench.settings import forget_settings
from forebay.config import MediaCacheConfig
from forebay.volumes.known_volumes import Volumes
from tests.servers.process import running
from tests.servers.valkey import valkey

_EVERY_SECONDS = 0.1
# Larger objects are read in ranges, for which nginx needs its own ETags.
_RANGES = 1 << 20


@dataclass
class Result:
    """What was measured with one number of processes, a value for each run.

    Attributes:
        rate: objects a second, from the making of the job to the end of its last object.
        cpu: microseconds of CPU for each object, of the workers and their supervisor.
        rss: the most resident memory of a worker, in MB.
        supervisor: the same of the supervisor.
    """

    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    supervisor: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.processes", description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--size", type=int, default=100_000, help="of an object, in bytes")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--concurrency", type=int, default=8, help="downloads at a time of each process")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    forget_settings()
    results = {count: Result() for count in options.processes}
    with scratch((2 + options.runs * len(results)) * options.samples * options.size, None) as place:
        bucket = "photos" if options.size < _RANGES else OWN_ETAGS
        corpus = Corpus.make(place / "root", bucket, options.samples, options.size)
        with serving(place / "root", place / "nginx", corpus) as site:
            endpoint = site.endpoints["plain"].url
            for run in range(options.runs):
                for count, result in results.items():
                    here = place / f"{run}-{count}"
                    here.mkdir()
                    _run(here, corpus, endpoint, count, options.concurrency, result)
    print(f"{options.samples:,} objects of {options.size:,} bytes, {options.concurrency} downloads a process")
    print(f"{os.cpu_count()} CPUs; medians of {options.runs} runs")
    for count, result in results.items():
        rate = statistics.median(result.rate)
        print(
            f"processes: {count}; "
            f"objects/s: {rate:,.0f} ({min(result.rate):,.0f} to {max(result.rate):,.0f}); "
            f"CPU: {statistics.median(result.cpu):.0f} µs an object; "
            f"memory: {max(result.rss):.0f} MB a worker, {max(result.supervisor):.0f} MB the supervisor"
        )


def _run(place: Path, corpus: Corpus, endpoint: str, count: int, concurrency: int, result: Result) -> None:
    with valkey(place / "valkey") as redis:
        settings = {
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": redis.url,
            "FIFTYONE_MEDIA_CACHE_DIR": str(place / "cache"),
            "FIFTYONE_MEDIA_CACHE_NUM_WORKERS": str(concurrency),
            "FIFTYONE_MEDIA_CACHE_DISPATCH": "fleet",
        }
        os.environ.update({**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": endpoint, **settings})
        volumes = Volumes(MediaCacheConfig())
        command = [COMMAND, "worker", "--processes", str(count)]
        with running(
            command, log=place / "log", ready=worker_is_alive(volumes, count), timeout=90
        ) as process:
            supervisor = psutil.Process(process.pid)
            workers = supervisor.children()
            before = cpu_seconds([supervisor, *workers])
            uris = corpus.write_list(place / "uris")
            ended, most = threading.Event(), [0.0, 0.0]

            def watch() -> None:
                while not ended.wait(_EVERY_SECONDS):
                    most[0] = max(most[0], *(one.memory_info().rss / 1e6 for one in workers))
                    most[1] = max(most[1], supervisor.memory_info().rss / 1e6)

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                done = subprocess.run(
                    [COMMAND, "prefetch", f"@{uris}", "--json"], check=False, capture_output=True
                )
            finally:
                ended.set()
                watcher.join()
            cpu = cpu_seconds([supervisor, *workers]) - before
        volumes.close()
    status = json.loads(done.stdout)
    if status["downloaded"] != len(corpus.md5):
        raise RuntimeError(f"not everything was downloaded: {status['failures'][:3]}")
    result.rate.append(status["samples_per_second"])
    result.cpu.append(1e6 * cpu / len(corpus.md5))
    result.rss.append(most[0])
    result.supervisor.append(most[1])


if __name__ == "__main__":
    main()
