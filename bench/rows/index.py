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

from bench.budgets import Verdict
from bench.corpus import Corpus
from bench.place import scratch
from bench.process import run
from bench.report import Section, spread
from bench.scale import Scale
from bench.server import serving
from bench.tools import forebay
from bench.tools.task import Task

if TYPE_CHECKING:
    from forebay.engine import Engine

_FEW = 1_000
_OBJECTS = 2000


def size(scale: Scale) -> Section:
    """Fetches objects into a cache of few entries and into one of many, in turn."""
    what = ("time per object, 1,000,000 entries / 1,000", "bytes of Redis per entry, keys of 36 bytes")
    section = Section("index")
    if not scale.entries:
        section.verdicts += [
            Verdict.unmeasured(what[0], "<= 1.20x", "not in a quick run"),
            Verdict.unmeasured(what[1], "<= 260 bytes", "not in a quick run"),
        ]
        return section
    seconds: dict[int, list[float]] = {_FEW: [], scale.entries: []}
    peaks = dict.fromkeys(seconds, 0)
    with scratch(4 << 30, scale.directory) as place:
        corpus = Corpus.make(place / "root", "photos", _OBJECTS, 100_000)
        uris = corpus.write_list(place / "uris")
        with (
            serving(place / "root", place / "nginx", corpus) as site,
            _engine(place / "few") as few,
            _engine(place / "many") as many,
        ):
            task = Task(corpus, corpus, site.endpoints["plain"], place)
            _fill(few, _FEW)
            memory = _fill(many, scale.entries)
            for number in range(scale.rounds + 1):
                for count, engine in ((_FEW, few), (scale.entries, many)):
                    environment = forebay.environment(task, Path(engine.config.cache_dir))
                    done = run(forebay.prefetch(uris), environment)
                    status = json.loads(done.output)
                    _clear(engine, corpus.uris)
                    if number:  # the first one warms up
                        seconds[count].append(status["elapsed_seconds"] / _OBJECTS)
                        peaks[count] = max(peaks[count], done.rss)
    rows = [
        (f"{count:,}", *spread([one * 1e6 for one in each], "{:.0f}".format), f"{peaks[count] / 1e6:.0f}")
        for count, each in seconds.items()
    ]
    section.notes.append(f"A prefetch of {_OBJECTS:,} objects beside so many entries, the start not counted.")
    section.tables.append((("entries", "µs/object", "min–max", "peak MB"), rows))
    ratio = statistics.median(a / b for a, b in zip(seconds[scale.entries], seconds[_FEW], strict=True))
    section.verdicts += [
        Verdict.at_most(what[0], ratio, 1.2, "{:.2f}x"),
        Verdict.at_most(what[1], memory, 260, "{:.0f} bytes"),
    ]
    return section


def evict(scale: Scale) -> Section:
    """Evicts many small files."""
    rates, slowest, typical, files = [], [], [], scale.evicted
    with scratch(files * 4096, scale.directory) as place:
        for number in range(scale.rounds):
            with _engine(place / f"cache-{number}") as engine:
                total = _write_files(engine, files)
                redis = engine.open_index().connection.redis
                redis.config_set("slowlog-log-slower-than", 500)
                redis.config_set("slowlog-max-len", 100_000)
                redis.slowlog_reset()
                start = time.perf_counter()
                done = engine.open_evictor().evict(total)
                rates.append(files / (time.perf_counter() - start))
                calls = [call["duration"] / 1000 for call in redis.slowlog_get(100_000)] or [0.0]
                slowest.append(max(calls))
                typical.append(statistics.median(calls))
                if len(done.entries) != files or os.listdir(engine.files.layout().media_dir):
                    raise RuntimeError(f"{len(done.entries)} of {files} files were evicted")
    section = Section("evict", [f"{files:,} files of 1 KB, {scale.rounds} rounds."])
    rows = [
        ("files/s", *spread(rates, "{:,.0f}".format)),
        ("longest Redis call of a round, ms", *spread(slowest, "{:.1f}".format)),
        ("median of those over 0.5 ms, ms", *spread(typical, "{:.1f}".format)),
    ]
    section.tables.append((("eviction", "median", "min–max"), rows))
    section.verdicts += [
        Verdict.at_least("eviction", statistics.median(rates), 30_000, "{:,.0f} files/s"),
        Verdict.at_most("longest Redis call of an eviction", statistics.median(slowest), 5, "{:.1f} ms"),
    ]
    return section


@contextlib.contextmanager
def _engine(cache_dir: Path) -> Iterator[Engine]:
    """The engine of a volume of its own, with its embedded Valkey."""
    from forebay.config import MediaCacheConfig
    from forebay.engine import Engine

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
