"""A million small objects through four workers: objects a second, and memory, from the first to the last.

``python -m bench.million`` prints a table with a row for each tenth of the job. The server has a thousand
objects under a million names; on the volume, each is a file of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.fleet import COMMAND, resident, worker_is_alive
from bench.place import scratch
from bench.process import cpu_seconds
from bench.server import ENVIRONMENT, OWN_ETAGS, serving
from bench.settings import forget_settings
from forebay.config import MediaCacheConfig
from forebay.volumes.known_volumes import Volumes
from tests.servers.process import running
from tests.servers.valkey import valkey

_EVERY_SECONDS = 1.0
_DISTINCT = 1000
_PARTS = 10


@dataclass
class Moment:
    """What was measured at one moment.

    Attributes:
        seconds: since the job was made.
        ended: samples that had ended.
        rss: resident memory in MB, by part.
        redis: what Redis counts as used for data, in bytes.
        cpu: seconds of CPU that each part has taken.
    """

    seconds: float
    ended: int
    rss: dict[str, float] = field(default_factory=dict)
    redis: int = 0
    cpu: dict[str, float] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=10_000, help="of an object, in bytes")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--dir", type=Path, help="where the files go; in memory by default")
    options = parser.parse_args()
    forget_settings()
    before = os.getloadavg()[0]
    with scratch((options.size + 6000) * options.samples, options.dir) as place:
        uris = _serve_many(place, options.samples, options.size)
        with serving(place / "root", place / "nginx") as site:
            moments = _run(place, uris, options.samples, site.endpoints["plain"].url, options.workers)
    print(
        f"{options.samples:,} objects of {options.size:,} bytes, {options.workers} workers on "
        f"{os.cpu_count()} CPUs, load average {before:.1f} before"
    )
    _tell(moments, options.samples)


def _serve_many(place: Path, count: int, size: int) -> Path:
    """Makes the objects, and returns the file with the list of their URIs."""
    bucket = place / "root" / OWN_ETAGS
    uris = place / "uris"
    with uris.open("w") as file:
        for number in range(count):
            name = f"{number // 1000:06}/{number % 1000:03}.jpg"
            if number % 1000 == 0:
                (bucket / name).parent.mkdir(parents=True)
            if number < _DISTINCT:
                (bucket / name).write_bytes(os.urandom(size))
            else:
                os.link(bucket / f"000000/{number % _DISTINCT:03}.jpg", bucket / name)
            file.write(f"s3://{OWN_ETAGS}/{name}\n")
    return uris


def _run(place: Path, uris: Path, count: int, endpoint: str, workers: int) -> list[Moment]:
    with valkey(place / "valkey") as redis, contextlib.ExitStack() as services:
        settings = {
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": redis.url,
            "FIFTYONE_MEDIA_CACHE_DIR": str(place / "cache"),
            "FIFTYONE_MEDIA_CACHE_DISPATCH": "fleet",
        }
        os.environ.update({**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": endpoint, **settings})
        volumes = Volumes(MediaCacheConfig())
        server = psutil.Process(redis.client.info("server")["process_id"])
        parts: dict[str, list[int]] = {"Redis": [server.pid], "workers": []}
        for number in range(workers):
            command = [COMMAND, "worker", "--name", f"w{number}"]
            ready = worker_is_alive(volumes, number + 1)
            process = services.enter_context(
                running(command, log=place / "workers.log", ready=ready, timeout=90)
            )
            parts["workers"].append(process.pid)
        moments: list[Moment] = []
        began, ended = time.monotonic(), threading.Event()
        command = [COMMAND, "prefetch", f"@{uris}", "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as prefetch:
            parts["prefetch"] = [prefetch.pid]
            assert prefetch.stdout is not None
            answer, output = list[bytes](), prefetch.stdout

            def read() -> None:
                answer.append(output.read())
                ended.set()

            reader = threading.Thread(target=read)
            reader.start()
            while not ended.wait(_EVERY_SECONDS):
                statuses = volumes.cache("default").jobs()
                done = statuses[0].total - statuses[0].pending if statuses else 0
                moment = Moment(time.monotonic() - began, done)
                for name, pids in parts.items():
                    with contextlib.suppress(psutil.Error):
                        moment.rss[name] = sum(map(resident, pids)) / 1e6
                        moment.cpu[name] = cpu_seconds([psutil.Process(pid) for pid in pids])
                moment.redis = redis.client.info("memory")["used_memory_dataset"]
                moments.append(moment)
            reader.join()
        status = json.loads(answer[0])
        if status["downloaded"] != count:
            raise RuntimeError(f"not everything was downloaded: {status['failures'][:3]}")
        moments.append(Moment(time.monotonic() - began, count, redis=moments[-1].redis, cpu=moments[-1].cpu))
        volumes.close()
        return moments


def _tell(moments: list[Moment], count: int) -> None:
    names = list(moments[0].rss)
    print(
        "| samples | objects/s | Redis' data, bytes a sample | "
        + " | ".join(f"{n}, MB" for n in names)
        + " |"
    )
    print("|---" * (3 + len(names)) + "|")
    last, first = moments[0], moments[0]
    for part in range(1, _PARTS + 1):
        there = next(moment for moment in moments if moment.ended >= part * count // _PARTS)
        rate = (there.ended - last.ended) / max(there.seconds - last.seconds, 1e-9)
        sizes = " | ".join(f"{(there.rss or last.rss).get(name, 0):.0f}" for name in names)
        print(f"| {there.ended:,} | {rate:,.0f} | {there.redis / there.ended:.0f} | {sizes} |")
        last = there if there.rss else Moment(there.seconds, there.ended, last.rss, there.redis)
    each = {name: 1e6 * (moments[-1].cpu[name] - first.cpu[name]) / count for name in names}
    print("CPU, µs a sample: " + ", ".join(f"{name} {one:.0f}" for name, one in each.items()))


if __name__ == "__main__":
    main()
