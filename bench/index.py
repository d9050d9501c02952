"""A large index and its evictor."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.corpus import Corpus
from bench.place import scratch
from bench.process import run
from bench.report import Budget, spread
from bench.server import serving
from bench.tools import forebay
from bench.tools.task import Task

if TYPE_CHECKING:
    from forebay.engine import Engine

_FEW, _MANY = 1_000, 1_000_000
_OBJECTS = 2000
_FILES = 50_000


def size(*, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Fetches objects into a cache of few entries and into one of many, in turn."""
    seconds: dict[int, list[float]] = {_FEW: [], _MANY: []}
    with scratch(4 << 30, directory) as place:
        corpus = Corpus.make(place / "root", "photos", _OBJECTS, 100_000)
        uris = corpus.write_list(place / "uris")
        with (
            serving(place / "root", place / "nginx", corpus) as endpoint,
            _engine(place / "few") as few,
            _engine(place / "many") as many,
        ):
            task = Task(corpus, corpus, endpoint, 16, place)
            _fill(few, _FEW)
            memory = _fill(many, _MANY)
            print(f"{_MANY:,} entries with keys of 36 bytes take {memory:.0f} bytes of Redis each")
            for _ in range(rounds):
                for count, engine in ((_FEW, few), (_MANY, many)):
                    environment = forebay.environment(task, Path(engine.config.cache_dir), "local")
                    status = json.loads(run(forebay.prefetch(uris), environment).output)
                    seconds[count].append(status["elapsed_seconds"] / _OBJECTS)
                    _clear(engine, corpus.uris)
    for count, each in seconds.items():
        median, limits = spread([one * 1e6 for one in each], "{:.0f}".format)
        print(f"a prefetch beside {count:,} entries: {median} µs an object ({limits})")
    ratio = statistics.median(a / b for a, b in zip(seconds[_MANY], seconds[_FEW], strict=True))
    return [
        Budget.at_most("time per object, 1,000,000 entries / 1,000", ratio, 1.2, "{:.2f}x"),
        Budget.at_most("Redis per entry", memory, 260, "{:.0f} bytes"),
    ]


def evict(*, rounds: int = 5, directory: Path | None = None) -> list[Budget]:
    """Evicts many small files."""
    rates, slowest, typical = [], [], []
    with scratch(_FILES * 4096, directory) as place:
        for number in range(rounds):
            with _engine(place / f"cache-{number}") as engine:
                total = _write_files(engine, _FILES)
                redis = engine.open_index().connection.redis
                redis.config_set("slowlog-log-slower-than", 500)
                redis.config_set("slowlog-max-len", 100_000)
                redis.slowlog_reset()
                start = time.perf_counter()
                done = engine.open_evictor().evict(total)
                rates.append(_FILES / (time.perf_counter() - start))
                calls = [call["duration"] / 1000 for call in redis.slowlog_get(100_000)] or [0.0]
                slowest.append(max(calls))
                typical.append(statistics.median(calls))
                if len(done.entries) != _FILES or os.listdir(engine.files.layout().media_dir):
                    raise RuntimeError(f"{len(done.entries)} of {_FILES} files were evicted")
    rate, limits = spread(rates, "{:,.0f}".format)
    print(f"evicted {_FILES:,} files, {rounds} times: {rate} files/s ({limits})")
    longest, limits = spread(slowest, "{:.1f}".format)
    print(
        f"the longest call of Redis in each round: {longest} ms ({limits}), by the clock: on a busy machine"
    )
    print(
        f"that includes waiting for a CPU; the median of all over 0.5 ms: {statistics.median(typical):.1f} ms"
    )
    return [
        Budget.at_least("eviction", statistics.median(rates), 20_000, "{:,.0f} files/s"),
        Budget.at_most("its longest Redis call", statistics.median(slowest), 5, "{:.1f} ms"),
    ]


@contextlib.contextmanager
def _engine(cache_dir: Path) -> Iterator[Engine]:
    """The engine of a volume of its own, with its embedded Valkey."""
    from forebay.config import MediaCacheConfig

    with forebay.stopping(cache_dir):
        engine = Engine(MediaCacheConfig(cache_dir=str(cache_dir)))
        try:
            yield engine
        finally:
            engine.close()


def _fill(engine: Engine, count: int) -> float:
    """Puts entries into the index that have no files; returns what each takes in Redis, in bytes.

    They stay, as the sweep that would drop them is not due for hours.
    """
    from forebay.index import Entry, StoredFile

    index = engine.open_index()
    index.connection.command("hset", index.keys.meta, mapping={"swept": 1, "swept_at": time.time()})
    before, now = _memory(engine), time.time() - 86400.0
    value = Entry(100_000, '"d41d8cd98f00b204e9800998ecf8427e"', int(now)).format()
    index.entries.adopt(
        StoredFile(f"s3/elsewhere/images/{n:012}.jpg", 100_000, now + n / 1000, value) for n in range(count)
    )
    return (_memory(engine) - before) / count


def _memory(engine: Engine) -> int:
    found: dict[str, Any] = engine.open_index().connection.command("info", "memory")
    return int(found["used_memory"])


def _write_files(engine: Engine, count: int) -> int:
    """Puts small files on the volume and into the index; returns their size in bytes."""
    from forebay.index import Entry, StoredFile

    index, then = engine.open_index(), time.time() - 86400.0
    records, value = [], Entry(1000, "", int(then)).format()
    for number in range(count):
        entry = f"s3/photos/{number // 1000:03}/{number:06}.jpg"
        path = engine.files.layout().path(entry)
        if number % 1000 == 0:
            os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(b"x" * 1000)
        os.utime(path, (then + number / 1000, then))
        records.append(StoredFile(entry, 1000, then + number / 1000, value))
    index.entries.adopt(records)
    return 1000 * count


def _clear(engine: Engine, uris: list[str]) -> None:
    from forebay.uri import entry_of

    engine.open_clearing().clear(map(entry_of, uris))
