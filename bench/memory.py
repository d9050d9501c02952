"""Objects of 1 B to 64 MiB with everything in flight: memory over time, and its plot.

``python -m bench.memory --write`` draws ``docs/images/prefetch-memory.png`` and writes the figures into
``docs/benchmarks.md``.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
from pathlib import Path

from bench.corpus import Corpus
from bench.page import PAGE, write_block
from bench.place import clean_up_when_terminated, scratch
from bench.process import FailedError, status_bytes, tree
from bench.report import Table, aligned, markdown
from bench.sampling import Course, watch
from bench.server import OWN_ETAGS, serving
from bench.settings import forget_settings
from bench.tools import forebay
from bench.tools.task import Task

_LARGEST = 64 << 20
_EVERY_SECONDS = 0.02
_IN_FLIGHT = 256
# The settings of what is in flight, and of what may be held of it, as they are named where they exist.
_REQUESTS_SETTINGS = ("max_requests", "num_workers")
_BUFFER_SETTINGS = ("max_buffered_bytes", "buffer_bytes")
_DEFAULT_LIMIT = 256 << 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--objects", type=int, default=800)
    parser.add_argument("--in-flight", type=int, default=_IN_FLIGHT)
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="of Forebay, as often as needed"
    )
    parser.add_argument("--dir", type=Path, help="where to put the files (default: in memory)")
    parser.add_argument("--plot", type=Path, help="where to draw")
    parser.add_argument("--write", action="store_true", help="draw and write into docs/")
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    settings = {first_field(_REQUESTS_SETTINGS) or "num_workers": str(options.in_flight)}
    settings |= dict(setting.split("=", 1) for setting in options.setting)
    sizes = mixed_sizes(options.objects)
    limit = limit_of(settings)
    with scratch(2 * sum(sizes), options.dir) as place:
        corpus = Corpus.make(place / "root", OWN_ETAGS, len(sizes), *sizes)
        with serving(place / "root", place / "nginx", corpus) as site:
            task = Task(corpus, corpus, site.endpoints["late"], place)
            course = _fetch(task, place / "cache", settings)
    said = ", ".join(f"`{name}={value}`" for name, value in settings.items())
    note = (
        f"{len(sizes):,} objects, {sum(sizes) / 1e9:.1f} GB in all, {said}, {course.seconds[-1]:.1f} s; the "
        f"memory of the process, of which {limit >> 20} MiB may be what has arrived and is not yet written:"
    )
    head, rows = table(course, limit)
    print(f"{note}\n\n{aligned(head, rows)}")
    plot = options.plot or (PAGE.parent / "images" / "prefetch-memory.png" if options.write else None)
    if plot:
        _draw(course, limit, plot)
    if options.write:
        write_block("memory", f"{note}\n\n{markdown(head, rows)}")


def mixed_sizes(count: int) -> list[int]:
    """Sizes from 1 B to 64 MiB, as many of each order of magnitude, in no order."""
    steps = max(1, count - 1)
    sizes = [round(math.exp(math.log(_LARGEST) * number / steps)) for number in range(count)]
    random.Random(count).shuffle(sizes)
    return sizes


def first_field(names: tuple[str, ...]) -> str | None:
    """The first of these settings that there is."""
    from forebay.config import MediaCacheConfig

    return next((name for name in names if name in MediaCacheConfig.model_fields), None)


def limit_of(settings: dict[str, str]) -> int:
    """The bytes that may be held at once, by these settings."""
    from forebay.config import MediaCacheConfig

    name = first_field(_BUFFER_SETTINGS)
    if name is None:
        return _DEFAULT_LIMIT
    return int(getattr(MediaCacheConfig(**({name: settings[name]} if name in settings else {})), name))


def table(course: Course, limit: int) -> Table:
    """What the memory was at most."""
    rows = [
        ("at most", f"{course.most / 1e6:.0f} MB"),
        ("at the end", f"{course.values[-1] / 1e6:.0f} MB"),
        ("the setting", f"{limit / 1e6:.0f} MB"),
        ("within the setting", "yes" if course.most <= limit else "NO"),
        ("moments above it", f"{course.above(limit):.1%}"),
    ]
    return ("memory", ""), rows


def _fetch(task: Task, cache_dir: Path, settings: dict[str, str]) -> Course:
    environment = forebay.environment(task, cache_dir, **settings)
    command = forebay.prefetch(task.corpus.write_list(task.scratch / "uris"))
    errors = task.scratch / "errors"
    with (
        forebay.stopping(cache_dir),
        errors.open("wb") as log,
        subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=log
        ) as process,
    ):
        course = watch(
            process, lambda: sum(status_bytes(each)[0] for each in tree(process.pid)), _EVERY_SECONDS
        )
    if process.returncode:
        raise FailedError(errors.read_text()[-2000:])
    task.corpus.check(cache_dir / "media" / "s3" / task.corpus.bucket)
    # When it was already gone there was nothing to be seen.
    while course.values and not course.values[-1]:
        course.values.pop()
        course.seconds.pop()
    return course


def _draw(course: Course, limit: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 3.2))
    axis.plot(course.seconds, [value / 1e6 for value in course.values], color="#1f77b4", label="the process")
    axis.axhline(limit / 1e6, color="#d62728", linestyle="--", linewidth=1, label="the setting")
    axis.set(xlabel="seconds", ylabel="resident memory, MB", ylim=(0, None), xlim=(0, None))
    axis.legend(loc="lower right", frameon=False, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
