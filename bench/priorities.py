"""What a job with a higher priority suffers from another one: ``python -m bench.priorities``.

The source sends so many bytes a second at most, over all connections. A job is timed alone; then again while
a bulk job of a low priority runs, and, to compare, one of the same: with workers, and within one process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from bench.corpus import Corpus
from bench.place import clean_up_when_terminated, scratch
from bench.report import aligned
from bench.server import ENVIRONMENT, serving
from bench.settings import forget_settings
from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.jobs.handle import Job
from tests.servers.valkey import valkey
from tests.servers.workers import worker

_CHUNK = 64 << 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.priorities", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="MB a second of the source")
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--objects", type=int, default=600, help="of the job that is timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    rows = []
    with scratch(9 * options.objects * options.size, None) as place:
        urgent = Corpus.make(place / "root", "urgent", options.objects, options.size)
        bulk = Corpus.make(place / "root", "bulk", 3 * options.objects, options.size)
        with (
            serving(place / "root", place / "nginx", urgent, bulk) as site,
            _limited(site.endpoints["plain"].url, options.megabytes * 1_000_000) as endpoint,
        ):
            os.environ.update({**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": endpoint})
            for where, workers in (("one process", 0), (f"{options.workers} workers", options.workers)):
                times: dict[str, list[float]] = {"": [], "low": [], "high": []}
                for number in range(options.rounds):
                    for beside, found in times.items():
                        here = place / f"{workers}-{beside}-{number}"
                        here.mkdir()
                        found.append(_timed(here, workers, urgent, bulk, beside))
                alone, low, same = (statistics.median(found) for found in times.values())
                rows.append((where, f"{alone:.2f} s", f"{low / alone:.2f}x", f"{same / alone:.2f}x"))
                print(rows[-1], flush=True)
    head = ("who downloads", "alone", "beside a job of low priority", "beside one of the same")
    print(aligned(head, rows))


def _timed(place: Path, workers: int, urgent: Corpus, bulk: Corpus, beside: str) -> float:
    """The seconds of the urgent job, while a bulk job of another priority runs, if any."""
    with valkey(place / "valkey") as redis, contextlib.ExitStack() as services:
        caches = []

        def cache(priority: str) -> MediaCache:
            config = MediaCacheConfig(
                cache_dir=str(place / "cache"),
                redis_url=redis.url,
                dispatch="fleet" if workers else "local",
                num_workers=2,
                local_processes=1,
                priority=priority,
            )
            caches.append(MediaCache(config))
            services.callback(caches[-1].close)
            return caches[-1]

        first = cache("high")
        for number in range(workers):
            services.enter_context(worker(first, name=f"w{number}"))
        other = None
        if beside:
            other = _other(first if not workers else cache(beside), bulk, beside)
            _until(lambda: other.status().downloaded > 50)
        began = time.monotonic()
        job = first.download_media(urgent.uris, progress=False)
        seconds = time.monotonic() - began
        if job.downloaded != len(urgent.uris):
            raise RuntimeError(f"not everything was downloaded: {job.failures()[:3]}")
        if other is not None:
            if beside == "low" and not other.status().pending:
                raise RuntimeError("the bulk job had ended before")
            other.cancel()
        return seconds


def _other(cache: MediaCache, bulk: Corpus, priority: str) -> Job:
    job = cache.create_job(bulk.uris)
    # In one process there is one cache: its jobs differ in what they say.
    cache.engine.open_index().jobs.write(job.id, priority=priority)
    job.start()
    return job


def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.02)


@contextlib.contextmanager
def _limited(url: str, rate: int) -> Iterator[str]:
    """A relay in front of a server, in a process of its own: so many bytes a second over all connections."""
    host, port = url.rsplit("/", 1)[1].split(":")
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_relay, args=(host, int(port), rate, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()


def _relay(host: str, port: int, rate: int, told: Connection) -> None:
    free_at = 0.0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool) -> None:
        nonlocal free_at
        with contextlib.suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if limited:
                    now = time.monotonic()
                    free_at = max(free_at, now - 0.02) + len(chunk) / rate
                    if free_at > now:
                        await asyncio.sleep(free_at - now)
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, far_writer, limited=False), pump(far_reader, writer, limited=True))

    async def begin() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(begin())


if __name__ == "__main__":
    main()
