"""What is watched from outside while a storm lasts: by looks at disks and Redis, not by calls of Forebay."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis, RedisError

from forebay.index.keys import Keys
from forebay.index.records import Entry
from forebay.uri.layout import Layout
from forebay.volume import fence
from tests.chaos.storm_redis import StormRedis
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import Volume
from tests.limits import Watcher

_PAUSE_SECONDS = 0.3
# A lease that ends between two looks says nothing of the time between.
_LEASE_MARGIN = 2.0


class Watch:
    """Watches the limit and the leases of every volume until the block ends.

    Args:
        locate: where the file of an entry of a volume is.
    """

    def __init__(
        self, volumes: list[Volume], redis: StormRedis, locate: Callable[[Volume, str], Path], seen: Seen
    ) -> None:
        self._volumes = volumes
        self._locate = locate
        self._seen = seen
        self._redis = redis
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._disks = [Watcher(volume.cache_dir) for volume in volumes]
        self._told: set[str] = set()

    def __enter__(self) -> Watch:
        for disk in self._disks:
            disk.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for disk in self._disks:
            disk.__exit__()

    def _run(self) -> None:
        while not self._stopped.wait(_PAUSE_SECONDS):
            for volume, disk in zip(self._volumes, self._disks, strict=True):
                self._watch_disk(volume, disk)
                with (
                    contextlib.suppress(RedisError, OSError),
                    Redis(port=self._redis.port, decode_responses=True, socket_timeout=2) as client,
                ):
                    self._watch_index(volume, client)

    def _watch_disk(self, volume: Volume, disk: Watcher) -> None:
        self._seen.work["looks at the disks"] += disk.looks
        largest, disk.looks, disk.largest = disk.largest, 0, 0
        if largest > volume.limit:
            self._tell(volume.name, f"{largest:,} bytes lay on {volume.name}, of {volume.limit:,} allowed")

    def _watch_index(self, volume: Volume, client: Redis) -> None:
        keys = Keys(volume.name)
        if self._redis.may_go_back:
            # Until the volume was counted for another server, and swept, that may know, and keep by leases,
            # what has left since.
            (counted, swept), run_id = client.hmget(keys.meta, ["run_id", "swept"]), client.info()["run_id"]
            stands = fence.standing(Layout(str(volume.cache_dir)), run_id)
            if (counted, swept) != (run_id, "1") or not stands:
                return
        before = _leased(keys, client)
        there = {entry: os.path.exists(self._locate(volume, entry)) for entry in before}
        after = _leased(keys, client)
        self._seen.work["looks at leased files"] += len(there)
        for entry, is_there in there.items():
            if not is_there and before[entry] == after.get(entry):
                text = f"{entry} of {volume.name} is leased and in the index, and its file is gone"
                self._tell(text, text)

    def _tell(self, what: str, text: str) -> None:
        """Tells a thing once, since the next look sees it again."""
        if what not in self._told:
            self._told.add(what)
            self._seen.violation(text)


def _leased(keys: Keys, redis: Redis) -> dict[str, str]:
    """The value of each published entry that a lease keeps and that nobody has claimed."""
    with redis.pipeline(transaction=True) as pipeline:
        pipeline.zrangebyscore(keys.leases, time.time() + _LEASE_MARGIN, "+inf")
        pipeline.hgetall(keys.entries)
        pipeline.hkeys(keys.claims)
        leases, entries, claims = pipeline.execute()
    kept: set[str] = set()
    for lease in leases:
        kept |= set(redis.smembers(keys.lease(lease)))
    return {entry: entries[entry] for entry in kept - set(claims) if entry in entries}


def differences(volume: Volume, redis: Redis, locate: Callable[[Volume, str], Path]) -> list[str]:
    """In what index and disk of a volume differ that nobody uses any more."""
    keys = Keys(volume.name)
    entries = {entry: Entry.parse(value).size for entry, value in redis.hgetall(keys.entries).items()}
    wanted = {locate(volume, entry): size for entry, size in entries.items()}
    found = {
        Path(place) / name: (Path(place) / name).stat().st_size
        for place, _, names in os.walk(volume.cache_dir / "media")
        for name in names
    }
    names = ("published", "count", "reserved", "unindexed")
    counts = dict(zip(names, (int(n or 0) for n in redis.hmget(keys.meta, names)), strict=True))
    expected = {"published": sum(wanted.values()), "count": len(wanted), "reserved": 0, "unindexed": 0}
    wrong = [f"{path} is in the index of {volume.name} only" for path in wanted.keys() - found.keys()]
    wrong += [f"{path} is on {volume.name} only" for path in found.keys() - wanted.keys()]
    wrong += [
        f"{path} has {found[path]} bytes, and {wanted[path]} in the index"
        for path in wanted.keys() & found.keys()
        if wanted[path] != found[path]
    ]
    if counts != expected:
        wrong.append(f"the index of {volume.name} counts {counts}, and there is {expected}")
    if claims := redis.hgetall(keys.claims):
        wrong.append(f"claims of {volume.name} are left: {claims}")
    return wrong
