"""One program of a storm: it uses the cache for a while, and tells each thing that must not be."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import ForebayError
from forebay.uri import entry_of

# A sample must end in this time, whatever Redis and the server do meanwhile.
HANG_SECONDS = 150.0


class Client:
    """Does what users do, in an order that a seed gives.

    Args:
        cache: on the storm's volume.
        digests: the MD5 of each object, by its URI.
        may_go_back: whether Redis may forget a lease and know it again.
    """

    def __init__(self, cache: MediaCache, digests: dict[str, str], seed: int, *, may_go_back: bool) -> None:
        self._cache = cache
        self._digests = digests
        self._may_go_back = may_go_back
        self._uris = list(digests)
        self._random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self, seconds: float) -> None:
        operations: list[Callable[[], object]] = [
            self._paths,
            self._paths,
            self._read,
            self._job,
            self._job,
            self._context,
            self._leased,
            self._leased,
            self._look,
            self._free,
        ]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            operation = self._random.choice(operations)
            self.counts["operations"] += 1
            began = time.monotonic()
            try:
                operation()
            except ForebayError as error:
                self.counts[type(error).__name__] += 1
            except Exception as error:
                trace = "".join(traceback.format_exception(error)[-4:])
                self.wrong.append(f"a raw exception left {operation.__name__}: {trace}")
            if time.monotonic() - began > HANG_SECONDS:
                self.wrong.append(f"{operation.__name__} took {time.monotonic() - began:.0f} s")

    def _some(self, most: int) -> list[str]:
        return self._random.sample(self._uris, self._random.randint(1, most))

    def _check(self, uri: str, path: str) -> bool:
        """Reads a file; false where it is gone."""
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return False
        self._compare(uri, content)
        return True

    def _compare(self, uri: str, content: bytes) -> None:
        self.counts["samples"] += 1
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != self._digests[uri]:
            self.wrong.append(f"{uri} has wrong bytes")

    def _paths(self) -> None:
        for uri in self._some(10):
            with contextlib.suppress(ForebayError):
                # No lease keeps it: whoever is paused for longer than the grace period may find nothing.
                self._check(uri, self._cache.local_path(uri))

    def _read(self) -> None:
        for uri in self._some(5):
            with contextlib.suppress(ForebayError), self._cache.open(uri) as file:
                self._compare(uri, file.read())

    def _job(self) -> None:
        uris = self._some(60)
        job = self._cache.download_media(uris, update=self._random.random() < 0.2, progress=False)
        if job.cached + job.downloaded + job.failed != job.total or job.total != len(uris):
            self.wrong.append(f"the numbers of job {job.id} do not add up: {job.status().as_dict()}")

    def _context(self) -> None:
        uris = self._some(20)
        with self._cache.download_context(uris, batch_size=5) as context:
            for _ in context:
                self.counts["batches"] += 1

    def _leased(self) -> None:
        uris = self._some(8)
        state = self._cache.engine.open_index().state
        with self._cache.lease(uris, ttl=15) as lease:
            recovery = state.recovery()
            # Those of samples that failed have no file.
            paths = self._cache.get_local_paths(uris)
            there = [(uri, path) for uri, path in zip(uris, paths, strict=True) if os.path.exists(path)]
            time.sleep(self._random.random() / 2)
            for uri, path in there:
                # A Redis that was emptied has no lease any more.
                if self._check(uri, path) or not lease.renew(15):
                    continue
                if self._may_go_back and state.recovery() != recovery:
                    self.counts["leases that came back without their files"] += 1
                else:
                    self.wrong.append(f"{uri} is leased, and its file is gone: {self._about(uri)}")

    def _about(self, uri: str) -> str:
        """What the index and the disk say of an object now."""
        index, entry = self._cache.engine.open_index(), entry_of(uri)
        return (
            f"leased {index.leases.kept([entry])}, known {index.entries.values([entry])}, "
            f"claimed {index.claims.holders([entry])}, at {self._cache.engine.files.locate(entry)}"
        )

    def _look(self) -> None:
        self._cache.stats()
        list(self._cache.contents())
        self._cache.jobs()

    def _free(self) -> None:
        if self._random.random() < 0.2:
            self._cache.clear(self._some(20))
        else:
            self._cache.evict(self._random.randint(0, 4_000_000))


def main() -> None:
    """Runs one client. Standard input describes it; standard output says what it did and saw."""
    given: dict[str, Any] = json.load(sys.stdin)
    logging.disable(logging.CRITICAL)
    # Whoever finds this program hanging asks where.
    faulthandler.register(signal.SIGUSR1)
    cache = MediaCache(MediaCacheConfig(**given["settings"]))
    client = Client(cache, given["digests"], given["seed"], may_go_back=given["may_go_back"])
    client.run(given["seconds"])
    try:
        cache.close()
    except Exception as error:
        client.wrong.append(f"a raw exception left close: {error!r}")
    print(json.dumps({"counts": client.counts, "wrong": client.wrong}))


if __name__ == "__main__":
    main()
