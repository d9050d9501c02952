"""A storm: programs and workers on small volumes, while everything that they stand on fails.

    make chaos MINUTES=60 SEED=7
    python -m tests.chaos.storm --seeds 1-7 --minutes 30 --sentinels

Processes are killed and stopped, Redis is killed, stopped, emptied and cut off, the source breaks answers,
disks are full, and clocks jump. It ends with status 1 if anything was seen that must never be: more on a disk
than the limit, wrong bytes, a leased file that is gone, two downloads where one was promised, a job whose
numbers do not add up or that does not end, a worker that ended by itself, a program that hangs, an exception
that is not ours, and, in the end, an index that is not the disk. It prints what is needed to repeat it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from redis import Redis

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import ForebayError
from forebay.uri import entry_of
from forebay.uri.layout import Layout
from tests.caches import maintain
from tests.chaos.storm_client import HANG_SECONDS
from tests.chaos.storm_crew import Crew
from tests.chaos.storm_faults import Faults
from tests.chaos.storm_lull import Lulls
from tests.chaos.storm_redis import StormRedis, storm_redis
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import Volume, volumes
from tests.chaos.storm_watch import Watch, differences
from tests.servers.http_server import HTTPServer, http_server
from tests.servers.proxy import Proxy

OBJECTS = 400
VOLUMES = ["left", "right"]
LULL_EVERY_SECONDS = 25.0


def storm(seed: int, seconds: float, directory: Path, *, sentinels: bool = False) -> Seen:
    """Runs one storm, and says what it did and saw.

    Args:
        directory: takes the volumes, Redis and the logs.
        sentinels: whether Redis has a replica, and fails over to it.
    """
    seen = Seen()
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(storm_redis(directory / "redis", sentinels=sentinels))
        server = stack.enter_context(http_server())
        web = stack.enter_context(server.proxied())
        digests, total = _fill(server, web, seed)
        given = stack.enter_context(volumes(VOLUMES, directory, redis.url, web.endpoint + "/", total // 10))
        crew = Crew(directory, given, digests, seed, seen, may_go_back=redis.may_go_back)
        stack.callback(crew.kill_all)
        faults = Faults(seed, redis, web, given, crew, seen)
        lulls = Lulls(seed, redis, server, web, directory, seen)
        with Watch(given, redis, _locate, seen):
            _rage(seconds, faults, crew, lulls, given)
            crew.clients_end()
            for volume in given:
                _end_jobs(volume, seen)
            crew.workers_end()
        for volume in given:
            _compare(volume, redis, digests, seen)
    return seen


def _fill(server: HTTPServer, web: Proxy, seed: int) -> tuple[dict[str, str], int]:
    """Makes the source's objects; returns the MD5 of each, by its URI, and their size together."""
    bodies = random.Random(f"objects of {seed}")
    digests, total = {}, 0
    for number in range(OBJECTS):
        # Each of another size, by which the watcher tells a file from one that was there before it.
        body = bodies.randbytes(bodies.choice([1, 1000, 50_000, 200_000, 400_000]) + number)
        server.put(f"/{number:03}.bin", body)
        digests[f"{web.endpoint}/{number:03}.bin"] = hashlib.md5(body, usedforsecurity=False).hexdigest()
        total += len(body)
    return digests, total


def _rage(seconds: float, faults: Faults, crew: Crew, lulls: Lulls, given: list[Volume]) -> None:
    """Injects faults, with a lull now and then, and one at the end, from which nothing fails any more."""
    end = time.monotonic() + seconds
    lull = strike = time.monotonic()
    lull += min(LULL_EVERY_SECONDS, seconds / 2)
    while (now := time.monotonic()) < end:
        crew.keep_up(end - now)
        faults.end_those_due()
        if now > lull:
            faults.end_all()
            says_something = lulls.hold(given)
            lull = time.monotonic() + (LULL_EVERY_SECONDS if says_something else 0)
        elif now > strike:
            strike = now + faults.strike()
        # The storm's own pace, so that there is work between two faults.
        time.sleep(0.05)
    faults.end_all()


def _locate(volume: Volume, entry: str) -> Path:
    return Path(Layout(str(volume.cache_dir)).path(entry))


def _end_jobs(volume: Volume, seen: Seen) -> None:
    """Every job that the index knows ends, now that nothing fails, and its numbers add up."""
    with contextlib.closing(MediaCache(MediaCacheConfig(**volume.settings))) as cache:
        for status in cache.jobs():
            seen.work["jobs in the index at the end"] += 1
            try:
                last = cache.job(status.id).wait(HANG_SECONDS).status()
            except ForebayError as error:
                seen.violation(f"job {status.id} of {volume.name} does not end: {error}")
                continue
            if last.cached + last.downloaded + last.failed != last.total:
                seen.violation(f"the numbers of job {last.id} do not add up: {last.as_dict()}")


def _compare(volume: Volume, redis: StormRedis, digests: dict[str, str], seen: Seen) -> None:
    """After its maintenance, a quiet volume's index is its disk, and each file has its object's bytes."""
    with contextlib.closing(MediaCache(MediaCacheConfig(**volume.settings))) as cache:
        maintain(cache)
    with contextlib.closing(Redis(port=redis.port, decode_responses=True)) as client:
        for text in differences(volume, client, _locate):
            seen.violation(text)
    for uri, digest in digests.items():
        path = _locate(volume, entry_of(uri))
        if path.exists():
            seen.work["files compared at the end"] += 1
            if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != digest:
                seen.violation(f"{path} has wrong bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1-7", help="the first and the last, or one")
    parser.add_argument("--minutes", type=float, default=30.0, help="of all storms together")
    parser.add_argument("--sentinels", action="store_true", help="Redis has a replica, and fails over to it")
    arguments = parser.parse_args()
    # Ended from outside, too, it leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    minutes = arguments.minutes / len(seeds)
    faults: Counter[str] = Counter()
    work: Counter[str] = Counter()
    wrong = 0
    for seed in seeds:
        directory = Path(tempfile.mkdtemp(prefix=f"forebay-storm-{seed}-"))
        seen = storm(seed, minutes * 60, directory, sentinels=arguments.sentinels)
        print(f"seed {seed}: {dict(sorted(seen.faults.items()))}", flush=True)
        print(f"  work: {dict(sorted(seen.work.items()))}", flush=True)
        for text in seen.wrong:
            print(f"  WRONG: {text}", flush=True)
        if seen.wrong:
            more = " CHAOS_ARGS=--sentinels" if arguments.sentinels else ""
            print(f"to repeat it: make chaos SEED={seed} MINUTES={minutes:g}{more}", flush=True)
            print(f"the logs: {directory}", flush=True)
        else:
            shutil.rmtree(directory)
        faults, work, wrong = faults + seen.faults, work + seen.work, wrong + len(seen.wrong)
    print("nothing was seen that must not be" if not wrong else f"{wrong} things must not be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
