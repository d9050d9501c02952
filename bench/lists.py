"""Manifests of ten million URIs: the rate at which they are read, and the memory that a job of them takes.

``python -m bench.lists --write`` writes the figures into ``docs/benchmarks.md``. Nothing is downloaded: a
manifest is read to its end, and ``forebay prefetch --no-wait`` makes a job of all its samples.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.page import write_block
from bench.place import clean_up_when_terminated, scratch
from bench.process import run
from bench.report import aligned, markdown
from bench.settings import forget_settings
from bench.tools.task import PROGRAMS
from tests.servers.valkey import valkey

_PART = 100_000
_LIMIT_BYTES = 500_000_000
_ROW = ("manifest", "rows", "rows/s", "seconds", "peak MB", "Redis MB")


@dataclass(frozen=True)
class Kind:
    """One kind of manifest.

    Attributes:
        name: of its file.
        write: writes it, with so many rows.
        checksums: whether its column of checksums is read, too.
    """

    name: str
    write: Callable[[Path, int], None]
    checksums: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="of the large Parquet file")
    parser.add_argument("--others", type=int, default=1_000_000, help="rows of the other kinds")
    parser.add_argument("--dir", type=Path, help="where to put the files (default: in memory)")
    parser.add_argument("--write", action="store_true", help="write into docs/")
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    rows = []
    with scratch(200 * max(options.rows, options.others), options.dir) as place:
        for kind in _KINDS:
            number = options.rows if kind.name == "uris.parquet" else options.others
            path = place / kind.name
            kind.write(path, number)
            rows.append(_read(path, number, checksums=kind.checksums))
            if kind.name == "uris.parquet":
                rows.append(_make_job(path, number, place))
            path.unlink()
            print(aligned(_ROW, rows[-1:]), flush=True)
    most = max(float(row[4]) for row in rows)
    verdict = f"{most:.0f} MB at most: {'under' if 1e6 * most < _LIMIT_BYTES else 'OVER'} 500 MB"
    verdict += f"; load average {os.getloadavg()[0]:.1f} at the end"
    print(f"\n{aligned(_ROW, rows)}\n\n{verdict}")
    if options.write:
        write_block("lists", f"{markdown(_ROW, rows)}\n\n{verdict}.")
    sys.exit(1e6 * most >= _LIMIT_BYTES)


def _read(path: Path, number: int, *, checksums: bool) -> tuple[str, ...]:
    command = [sys.executable, str(PROGRAMS / "forebay_read_list.py"), str(path)]
    done = run([*command, "md5"] if checksums else command, {})
    if int(done.output) != number:
        raise SystemExit(f"{path.name}: {done.output.strip()} rows instead of {number}")
    what = f"{path.name}{', with checksums' if checksums else ''}: read"
    return what, f"{number:,}", f"{number / done.wall:,.0f}", f"{done.wall:.1f}", f"{done.rss / 1e6:.0f}", ""


def _make_job(path: Path, number: int, place: Path) -> tuple[str, ...]:
    with valkey(place / "valkey") as redis:
        settings = {
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": redis.url,
            "FIFTYONE_MEDIA_CACHE_DIR": str(place / "cache"),
            "FIFTYONE_MEDIA_CACHE_DISPATCH": "local",
        }
        command = [sys.executable, str(PROGRAMS / "forebay_job_of_list.py"), str(path)]
        done = run(command, settings)
        memory = int(redis.client.info("memory")["used_memory"])
    if int(done.output) != number:
        raise SystemExit(f"{path.name}: {done.output.strip()} samples instead of {number}")
    rate = f"{number / done.wall:,.0f}"
    figures = (f"{done.wall:.1f}", f"{done.rss / 1e6:.0f}", f"{memory / 1e6:.0f}")
    return (f"{path.name}: job made", f"{number:,}", rate, *figures)


def _uris(number: int) -> Iterator[str]:
    return (f"s3://photos/train/{n // 10_000:05}/{n:010}.jpg" for n in range(number))


def _write_parquet(path: Path, number: int, *, checksums: bool = False) -> None:
    import pyarrow
    from pyarrow import parquet

    names = ["uri", "md5"] if checksums else ["uri"]
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    uris = _uris(number)
    with parquet.ParquetWriter(path, schema) as writer:
        for at in range(0, number, _PART):
            columns = [[next(uris) for _ in range(min(_PART, number - at))]]
            if checksums:
                columns.append([hashlib.md5(uri.encode()).hexdigest() for uri in columns[0]])
            writer.write_batch(pyarrow.record_batch(columns, schema=schema), row_group_size=1 << 20)


def _write_lines(path: Path, number: int) -> None:
    with path.open("w") as file:
        file.writelines(f"{uri}\n" for uri in _uris(number))


def _write_csv(path: Path, number: int) -> None:
    with path.open("w") as file:
        file.write("id,uri\n")
        file.writelines(f"{n},{uri}\n" for n, uri in enumerate(_uris(number)))


def _write_json_lines(path: Path, number: int) -> None:
    with path.open("w") as file:
        file.writelines(f"{json.dumps({'id': n, 'uri': uri})}\n" for n, uri in enumerate(_uris(number)))


def _write_coco(path: Path, number: int) -> None:
    annotation = {"segmentation": [[1.5, 2.5] * 8], "bbox": [1, 2, 3, 4], "category_id": 1, "area": 4.5}
    with path.open("w") as file:
        file.write('{"annotations": [')
        for n in range(number):
            file.write(f"{', ' if n else ''}{json.dumps({'id': n, 'image_id': n} | annotation)}")
        file.write('], "images": [')
        for n, uri in enumerate(_uris(number)):
            file.write(f"{', ' if n else ''}{json.dumps({'id': n, 'file_name': uri, 'width': 640})}")
        file.write("]}")


def _write_samples(path: Path, number: int) -> None:
    detection = {"_cls": "Detection", "label": "cat", "bounding_box": [0.1, 0.2, 0.3, 0.4]}
    with path.open("w") as file:
        file.write('{"samples": [')
        for n, uri in enumerate(_uris(number)):
            sample = {"filepath": uri, "ground_truth": {"detections": [detection] * 2}}
            file.write(f"{', ' if n else ''}{json.dumps(sample)}")
        file.write("]}")


_KINDS = (
    Kind("uris.parquet", _write_parquet),
    Kind(
        "checked.parquet", lambda path, number: _write_parquet(path, number, checksums=True), checksums=True
    ),
    Kind("uris.txt", _write_lines),
    Kind("uris.csv", _write_csv),
    Kind("uris.jsonl", _write_json_lines),
    Kind("instances.json", _write_coco),
    Kind("samples.json", _write_samples),
)


if __name__ == "__main__":
    main()
