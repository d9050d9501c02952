"""A large job through the fleet with Flower on: the memory of Flower, of the workers and of Redis over time.

``python -m bench.fleet`` runs it once with a message for each sample, which is the most that Flower and
the queue can be asked for, and once with messages as large as Forebay makes them; and draws the plot of
`docs/benchmarks.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import requests

from bench.corpus import Corpus
from bench.place import scratch
from bench.server import ENVIRONMENT, serving
from bench.settings import forget_settings
from forebay.config import MediaCacheConfig
from forebay.volumes.known_volumes import Volumes
from tests.servers.process import free_ports, running
from tests.servers.valkey import valkey

_EVERY_SECONDS = 1.0
_AFTER_SECONDS = 20.0
COMMAND = str(Path(sys.executable).with_name("forebay"))


@dataclass
class Course:
    """What was measured in one run, a value for each moment.

    Attributes:
        message_size: as it was set.
        samples: how many the job had.
        rate: samples a second, from the first to the last.
        flower_seconds: how long Flower's page of tasks took at the end.
        seconds: since the job was made.
        ended: samples that had ended by then.
        rss: resident memory in MB, by service: of all workers together, and of the child, too, in which
            Redis writes its append-only file anew, although it shares nearly all of it.
    """

    message_size: str
    samples: int
    rate: float = 0.0
    flower_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    rss: dict[str, list[float]] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=1000, help="of an object, in bytes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--message-size", nargs="+", default=["1", "auto"])
    parser.add_argument("--plot", type=Path, default=Path("docs/images/fleet-memory.png"))
    options = parser.parse_args()
    forget_settings()
    with scratch(12_000 * options.samples, None) as place:
        corpus = Corpus.make(place / "root", "photos", options.samples, options.size)
        with serving(place / "root", place / "nginx", corpus) as site:
            courses = []
            for message_size in options.message_size:
                here = place / message_size
                here.mkdir()
                courses.append(_run(here, corpus, site.endpoints["plain"].url, message_size, options.workers))
                _tell(courses[-1])
    _draw(courses, options.workers, options.plot)
    print(json.dumps([asdict(course) for course in courses]))


def _run(place: Path, corpus: Corpus, endpoint: str, message_size: str, workers: int) -> Course:
    (flower_port,) = free_ports()
    with valkey(place / "valkey") as redis, contextlib.ExitStack() as services:
        settings = {
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": redis.url,
            "FIFTYONE_MEDIA_CACHE_DIR": str(place / "cache"),
            "FIFTYONE_MEDIA_CACHE_NUM_WORKERS": "8",
            "FIFTYONE_MEDIA_CACHE_MESSAGE_SIZE": message_size,
            "FIFTYONE_MEDIA_CACHE_DISPATCH": "fleet",
        }
        environment = {**ENVIRONMENT, "AWS_ENDPOINT_URL_S3": endpoint, **settings}
        os.environ.update(environment)
        volumes = Volumes(MediaCacheConfig())
        families = {"workers": [], "Flower": [], "Redis": [redis.client.info("server")["process_id"]]}
        for number in range(workers):
            command = [COMMAND, "worker", "--name", f"w{number}"]
            ready = worker_is_alive(volumes, number + 1)
            process = services.enter_context(
                running(command, log=place / "workers.log", ready=ready, timeout=90)
            )
            families["workers"].append(process.pid)
        address = f"http://127.0.0.1:{flower_port}"
        flower = services.enter_context(
            running(
                [COMMAND, "flower", "--port", str(flower_port)],
                log=place / "flower.log",
                ready=lambda: requests.get(f"{address}/healthcheck", timeout=5).ok,
                timeout=90,
            )
        )
        families["Flower"].append(flower.pid)
        course = _watch(volumes, corpus, families, message_size)
        began = time.monotonic()
        page = requests.get(f"{address}/tasks", timeout=60)
        page.raise_for_status()
        course.flower_seconds = time.monotonic() - began
        volumes.close()
        return course


def worker_is_alive(volumes: Volumes, count: int) -> Callable[[], bool]:
    """Tells whether so many workers of the only volume are alive."""

    def ready() -> bool:
        found = volumes.list()
        return bool(found) and found[0].workers >= count

    return ready


def _watch(volumes: Volumes, corpus: Corpus, families: dict[str, list[int]], message_size: str) -> Course:
    """Makes the job, and measures until a while after its end."""
    course = Course(message_size, len(corpus.md5), rss={name: [] for name in families})
    command = [COMMAND, "prefetch", f"@{corpus.write_list(corpus.root.parent / 'uris')}", "--json"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as prefetch:
        left = None
        while left is None or time.monotonic() < left:
            course.seconds.append(time.monotonic() - began)
            course.ended.append(_ended(volumes))
            for name, pids in families.items():
                course.rss[name].append(sum(resident(pid) for pid in pids) / 1e6)
            if left is None and prefetch.poll() is not None:
                left = time.monotonic() + _AFTER_SECONDS
            time.sleep(_EVERY_SECONDS)
        assert prefetch.stdout is not None
        status = json.load(prefetch.stdout)
    if status["downloaded"] != course.samples:
        raise RuntimeError(f"not everything was downloaded: {status['failures'][:3]}")
    course.rate = status["samples_per_second"]
    return course


def _ended(volumes: Volumes) -> int:
    statuses = volumes.cache("default").jobs()
    return statuses[0].total - statuses[0].pending if statuses else 0


def resident(pid: int) -> int:
    """The resident bytes of a process and its descendants."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in [process, *process.children(recursive=True)])


def _tell(course: Course) -> None:
    print(f"message size {course.message_size}: {course.samples:,} samples, {course.rate:,.0f}/s")
    print(f"Flower's page of tasks: {course.flower_seconds:.2f} s")
    for name, mb in course.rss.items():
        print(f"{name:<8} {mb[0]:5.0f} MB at first, {max(mb):5.0f} at most, {mb[-1]:5.0f} at the end")


def _draw(courses: list[Course], workers: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(courses), figsize=(5 * len(courses), 3.4), squeeze=False, sharey=True
    )
    colors = {"workers": "#1f77b4", "Flower": "#2ca02c", "Redis": "#d62728"}
    for axis, course in zip(axes[0], courses, strict=True):
        for name, values in course.rss.items():
            label = f"{workers} workers together" if name == "workers" else name
            axis.plot(course.seconds, values, color=colors[name], label=label)
        axis.set(xlabel="seconds", ylim=(0, None))
        axis.set_title(f"message size {course.message_size}: {course.rate:,.0f} samples/s", fontsize=10)
        ended = axis.twinx()
        ended.fill_between(course.seconds, [n / 1000 for n in course.ended], color="#dddddd", zorder=0)
        ended.set(ylim=(0, 1.05 * course.samples / 1000))
        axis.set_zorder(ended.get_zorder() + 1)
        axis.patch.set_visible(False)
    axes[0][0].set_ylabel("resident memory, MB")
    ended.set_ylabel("samples that have ended, thousands", color="#888888")
    axes[0][0].legend(loc="upper left", frameon=False, fontsize=8)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
