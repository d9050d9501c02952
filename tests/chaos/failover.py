"""Failovers of Redis in the middle of a job of many small samples, for the record.

    python -m tests.chaos.failover --samples 20000

A program makes jobs one after the other, two workers download, and meanwhile the master behind Sentinels is
killed, a slot of a cluster moves, or a primary of the cluster is killed. Every sample must end cached, with
the bytes that it should have, within the limit, and nothing may be left over. It prints how long the work
took with and without, how long nothing moved, and how many requests more than objects the source has seen.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from forebay.cache import MediaCache
from tests.failover import all_there, cache_on, uris_of
from tests.servers.http_server import HTTPServer, http_server
from tests.servers.rediscluster import RedisCluster, redis_cluster
from tests.servers.sentinel import sentinel_group
from tests.servers.valkey import valkey
from tests.servers.workers import worker

_JOBS = 20


@dataclass(frozen=True)
class Place:
    """Where index and queue are, and what happens to them."""

    url: str
    broker: str | None
    accident: Callable[[MediaCache], object] | None


@contextlib.contextmanager
def behind_sentinels(directory: Path, *, calm: bool) -> Iterator[Place]:
    """The master of index and queue is killed."""
    with sentinel_group(directory) as group:
        yield Place(group.url, None, None if calm else lambda _: group.kill_master())


@contextlib.contextmanager
def slot_moves(directory: Path, *, calm: bool) -> Iterator[Place]:
    """The slot of the volume moves to another node."""

    def move(cluster: RedisCluster, cache: MediaCache) -> None:
        key = cache.engine.open_index().keys.prefix
        source = cluster.primary_of(key)
        target = next(node for node in cluster.nodes[:3] if node is not source)
        cluster.begin_to_move(key, target)
        cluster.move_keys(key, target)
        cluster.end_move(key, target)

    with redis_cluster(directory / "cluster") as cluster, valkey(directory / "queue") as queue:
        yield Place(cluster.url, queue.url, None if calm else lambda cache: move(cluster, cache))


@contextlib.contextmanager
def primary_dies(directory: Path, *, calm: bool) -> Iterator[Place]:
    """The node that has the volume's slot is killed."""

    def kill(cluster: RedisCluster, cache: MediaCache) -> None:
        cluster.primary_of(cache.engine.open_index().keys.prefix).stop()

    with redis_cluster(directory / "cluster", replicas=True) as cluster, valkey(directory / "queue") as queue:
        yield Place(cluster.url, queue.url, None if calm else lambda cache: kill(cluster, cache))


KINDS = {"sentinel": behind_sentinels, "slot-moves": slot_moves, "primary-dies": primary_dies}


def run(kind: str, samples: int, server: HTTPServer, *, calm: bool) -> None:
    """Downloads so many samples, with the accident in the middle or without, and prints what that took."""
    server.requests.clear()
    uris = uris_of(server, samples)
    with tempfile.TemporaryDirectory() as name, KINDS[kind](Path(name), calm=calm) as place:
        size = sum(len(f"{n}") * 200 for n in range(samples))
        given = {} if place.broker is None else {"broker_url": place.broker}
        cache = cache_on(
            place.url,
            Path(name) / "cache",
            server,
            dispatch="fleet",
            cache_size_bytes=size + size // 2,
            **given,
        )
        with worker(cache, name="w1"), worker(cache, name="w2"):
            watch = _Watch(server)
            began = time.monotonic()
            jobs = []
            step = -(-samples // _JOBS)
            for at in range(0, samples, step):
                jobs.append(cache.download_media(uris[at : at + step], wait=False, message_size=50))
                if place.accident is not None and len(jobs) == _JOBS // 4:
                    place.accident(cache)
            ends = [job.wait(300).status() for job in jobs]
            took = time.monotonic() - began
            watch.stop()
        assert sum(end.total for end in ends) == samples, ends
        assert sum(end.downloaded + end.cached for end in ends) == samples, ends
        assert all_there(cache, uris)
        while not cache.engine.open_maintenance().run(force=True):
            pass
        totals = cache.engine.open_index().entries.totals()
        assert (totals.count, totals.published, totals.reserved, totals.unindexed) == (samples, size, 0, 0), (
            totals
        )
        requests = sum(request.method == "GET" for request in server.requests)
        cached = sum(end.cached for end in ends)
        what = "without" if calm else "with it"
        print(
            f"{kind:13} {what:8} {samples:,} samples in {took:6.1f} s, longest pause {watch.longest:5.1f} s, "
            f"{requests - samples} requests more than objects, {cached} samples found cached",
            flush=True,
        )
        cache.close()


class _Watch:
    """Tells the longest time without a request to the source."""

    def __init__(self, server: HTTPServer) -> None:
        self.longest = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(server,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self, server: HTTPServer) -> None:
        seen, since = len(server.requests), time.monotonic()
        while not self._ended.wait(0.05):
            now = len(server.requests), time.monotonic()
            if now[0] != seen:
                self.longest = max(self.longest, now[1] - since)
                seen, since = now


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--accidents-only", action="store_true", help="do not measure the work without them")
    given = parser.parse_args()
    with http_server() as server:
        for kind in given.kinds:
            for calm in (False,) if given.accidents_only else (True, False):
                run(kind, given.samples, server, calm=calm)


if __name__ == "__main__":
    main()
