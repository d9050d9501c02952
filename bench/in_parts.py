"""Large objects that are read in parts: frames of a video, eight readers of one object, the first byte, a
whole object in order, and small reads at random, beside curl, fsspec's block cache and rclone's mount.

``python -m bench.in_parts --write`` writes the figures into ``docs/benchmarks.md``. The servers are nginx on
this machine: one that answers at once, and one that answers after 30 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.page import write_block
from bench.part_place import BUCKET, MIB, Place, ended, make_noise, make_video, serving, start
from bench.place import clean_up_when_terminated, scratch
from bench.report import Section
from bench.server import ENVIRONMENT, LATE_SECONDS
from bench.settings import forget_settings
from bench.tools import forebay, rclone
from tests.limits import Watcher

_FRAMES, _READS, _READERS, _ROUNDS = 10, 200, 8, 3


def frames(place: Place) -> Section:
    """Frames at random places of a video, on an empty cache and again."""
    size = os.path.getsize(place.objects / "video.mp4")
    head = ("", "seconds", "requests", "of the bytes", "goal", "")
    local = [
        ended(start(place, "frames", "file", str(place.objects / "video.mp4"), seed=n, count=_FRAMES))
        for n in range(_ROUNDS)
    ]
    middle = statistics.median(one["seconds"] for one in local)
    rows = [("the local file", f"{middle:.2f}", "", "", "", "")]
    for server, latency in (("at once", 0.0), ("late", LATE_SECONDS)):
        for again in (False, True):
            seconds, asked, share = [], [], []
            for n in range(_ROUNDS):
                cache = f"frames-{server.replace(' ', '-')}-{n}"
                place.forget()
                environment = place.environment(server, cache)
                uri = f"s3://{BUCKET}/video.mp4"
                with contextlib.nullcontext() if not again else forebay.stopping(place.directory / cache):
                    found = ended(
                        start(place, "frames", "forebay", uri, seed=n, count=_FRAMES, **environment)
                    )
                if found["found"] != local[n]["found"]:
                    raise RuntimeError("the frames are not those of the local file")
                answers = place.requests("video.mp4")
                seconds.append(found["seconds"])
                asked.append(len(answers))
                share.append(sum(size for _, size in answers) / size)
            allowed = 1.5 * middle + statistics.median(asked) * latency
            took = statistics.median(seconds)
            ok = took <= allowed and max(share) < 0.05 and (not again or not any(asked))
            rows.append(
                (
                    f"Forebay, server {server}{', again' if again else ''}",
                    f"{took:.2f}",
                    f"{statistics.median(asked):.0f}",
                    f"{statistics.median(share):.1%}",
                    f"<= {allowed:.2f} s, {'no request' if again else '< 5.0%'}",
                    "yes" if ok else "NO",
                )
            )
    note = (
        f"{_FRAMES} frames at random places of an mp4 of {size / 1e6:,.0f} MB (H.264, 24 Mbit/s, a key frame "
        f"every 12 frames, its index at the end), by PyAV; medians of {_ROUNDS}. The goal is 1.5 times the "
        "local file's time, and the latency of the requests one after the other."
    )
    return Section("frames", [note], [(head, rows)])


def readers(place: Place) -> Section:
    """Eight processes read one object at random at the same time."""
    size = os.path.getsize(place.objects / "readers.bin")
    uri, path = f"s3://{BUCKET}/readers.bin", str(place.objects / "readers.bin")
    right = [
        ended(start(place, "random", "file", path, seed=n, count=_READS))["found"] for n in range(_READERS)
    ]
    rows = []
    for name, limit, kills in (
        ("in a cache of 2 GB", 2 << 30, 0),
        ("in 128 MiB, 4 of them killed", 128 << 20, 4),
    ):
        cache = f"readers-{kills}"
        environment = place.environment("late", cache, SIZE_BYTES=str(limit), CLAIM_TTL_SECONDS="5")
        place.forget()
        wrong = 0
        # Its index is not part of the limit.
        watched = place.directory / cache / "media"
        watched.mkdir(parents=True)
        with forebay.stopping(place.directory / cache), Watcher(watched) as watcher:
            began = time.perf_counter()
            running = {
                n: start(place, "random", "forebay", uri, seed=n, count=_READS, **environment)
                for n in range(_READERS)
            }
            for n in range(kills):
                time.sleep(1.5)
                running[n].send_signal(signal.SIGKILL)
                running[n].wait()
                running[n] = start(place, "random", "forebay", uri, seed=n, count=_READS, **environment)
            for n, process in running.items():
                wrong += ended(process)["found"] != right[n]
            took = time.perf_counter() - began
        asked = Counter(span for span, _ in place.requests("readers.bin"))
        twice = sum(count > 1 for count in asked.values())
        rows.append(
            (
                f"Forebay, {name}",
                f"{took:.1f}",
                f"{sum(asked.values()):,}",
                f"{twice:,}",
                f"{watcher.largest / MIB:,.0f} of {limit / MIB:,.0f} MiB",
                str(wrong),
            )
        )
    note = (
        f"{_READERS} processes, each with {_READS} reads of 64 KiB at random places of one object of "
        f"{size / 1e6:,.0f} MB, at the same time, from the server that answers after 30 ms. In the smaller "
        "cache, blocks are evicted and asked for again. What lies there at most is looked at every 10 ms."
    )
    head = ("", "seconds", "requests", "blocks asked for twice", "at most there", "readers with wrong bytes")
    return Section("readers", [note], [(head, rows)])


def _curl(url: str, target: Path) -> tuple[float, float]:
    form = "%{time_starttransfer} %{time_total}"
    words = ["curl", "--silent", "--fail", "--output", str(target), "--write-out", form, url]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    target.unlink()
    first, total = map(float, done.stdout.split())
    return first, total


def in_order(place: Place) -> Section:
    """The first byte of a large object, and all of it in order, beside curl."""
    size = os.path.getsize(place.objects / "large.bin")
    rows = []
    for server in ("at once", "late"):
        curls, ours = [], []
        for n in range(_ROUNDS):
            curls.append(_curl(place.url(server, "large.bin"), place.directory / "curl.bin"))
            cache = f"order-{n}"
            uri = f"s3://{BUCKET}/large.bin"
            environment: Any = place.environment(server, cache)
            with forebay.stopping(place.directory / cache):
                ours.append(ended(start(place, "sequential", "forebay", uri, **environment)))
            shutil.rmtree(place.directory / cache)
        first, total = (statistics.median(one[at] for one in curls) for at in (0, 1))
        took, closing = (statistics.median(one[name] for one in ours) for name in ("seconds", "closing"))
        byte = statistics.median(one["first"] for one in ours)
        speed = f"{size / total / 1e6:,.0f}"
        rows.append((f"curl, server {server}", f"{first * 1000:.0f}", f"{total:.2f}", speed, "", ""))
        rows.append(
            (
                f"Forebay, server {server}",
                f"{byte * 1000:.0f}",
                f"{took:.2f}",
                f"{size / took / 1e6:,.0f}",
                f"{total / took:.2f}x",
                f"{closing:.2f}",
            )
        )
    note = (
        f"One object of {size / 1e6:,.0f} MB that is read to its end, 1 MiB at a time; curl writes it to a "
        f"file. Medians of {_ROUNDS}. The goals are one round trip to the first byte, and 0.9 times curl's "
        "speed. Closing the file puts its blocks together."
    )
    head = ("", "first byte, ms", "seconds", "MB/s", "of curl's speed", "closing, seconds")
    return Section("in order", [note], [(head, rows)])


@contextlib.contextmanager
def _mounted(place: Place, server: str) -> Iterator[Path | str]:
    """The path of rclone's mount, with its cache on; or why there is none."""
    binary = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if binary is None or shutil.which("fusermount3") is None or not os.path.exists("/dev/fuse"):
        yield "rclone, fusermount3 and /dev/fuse are not all there"
        return
    target, settings = place.directory / "mount", place.directory / "rclone.conf"
    target.mkdir(exist_ok=True)
    settings.write_text(rclone.CONFIGURATION.format(endpoint=f"http://127.0.0.1:{place.ports[server]}"))
    cache = place.directory / "rclone-cache"
    words = [binary, "--config", str(settings), "mount", f"bench:{BUCKET}", str(target), "--read-only"]
    words += ["--vfs-cache-mode", "full", "--cache-dir", str(cache), "--vfs-read-ahead", "0"]
    words += ["--vfs-read-chunk-size", "1M", "--buffer-size", "0", "--no-modtime"]
    process = subprocess.Popen(
        words, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 10
        while not os.path.ismount(target) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if os.path.ismount(target):
            yield target
        else:
            process.kill()
            assert process.stderr is not None
            yield (process.stderr.read().strip().splitlines() or ["rclone's mount does not come up"])[-1]
    finally:
        subprocess.run(["fusermount3", "-u", "-z", str(target)], check=False, capture_output=True)
        process.terminate()
        process.wait()
        shutil.rmtree(cache, ignore_errors=True)


def at_random(place: Place) -> Section:
    """Small reads at random places, beside other caches."""
    size = os.path.getsize(place.objects / "large.bin")
    path, rows, notes = str(place.objects / "large.bin"), [], []
    right = [
        ended(start(place, "random", "file", path, seed=n, count=_READS))["found"] for n in range(_ROUNDS)
    ]
    for server in ("at once", "late"):
        places = {"Forebay": ("forebay", f"s3://{BUCKET}/large.bin")}
        places["fsspec's blockcache"] = ("fsspec", place.url(server, "large.bin"))
        places["rclone mount, VFS cache"] = ("file", "")
        for tool, (how, named) in places.items():
            seconds, asked, sent = [], [], []
            for n in range(_ROUNDS):
                cache = f"random-{n}"
                environment = place.environment(server, cache)
                with contextlib.ExitStack() as stack:
                    of = named
                    if how == "file":
                        target = stack.enter_context(_mounted(place, server))
                        if isinstance(target, str):
                            notes.append(f"{tool} was not measured: {target}.")
                            break
                        of = str(target / "large.bin")
                    if how == "forebay":
                        stack.enter_context(forebay.stopping(place.directory / cache))
                    place.forget()
                    found = ended(start(place, "random", how, of, seed=n, count=_READS, **environment))
                    answers = place.requests("large.bin")
                for left in (cache, f"{cache}-fsspec"):
                    shutil.rmtree(place.directory / left, ignore_errors=True)
                if found["found"] != right[n]:
                    raise RuntimeError(f"{tool} read wrong bytes")
                seconds.append(found["seconds"])
                asked.append(len(answers))
                sent.append(sum(one for _, one in answers))
            if seconds:
                took = statistics.median(seconds)
                each = f"{took / _READS * 1000:.1f}"
                moved = f"{statistics.median(sent) / MIB:,.0f}"
                rows.append(
                    (
                        f"{tool}, server {server}",
                        f"{took:.2f}",
                        each,
                        f"{statistics.median(asked):.0f}",
                        moved,
                    )
                )
    note = (
        f"{_READS} reads of 64 KiB at random places of an object of {size / 1e6:,.0f} MB, on an empty cache; "
        f"medians of {_ROUNDS}. fsspec's blocks and rclone's chunks have 1 MiB, as Forebay's; rclone reads "
        "nothing ahead."
    )
    head = ("", "seconds", "ms a read", "requests", "MiB sent")
    return Section("at random", [note, *dict.fromkeys(notes)], [(head, rows)])


_CASES = {
    "frames": (frames, {"video.mp4": 1000}),
    "readers": (readers, {"readers.bin": 500}),
    "order": (in_order, {"large.bin": 2000}),
    "random": (at_random, {"large.bin": 2000}),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.in_parts", description=__doc__)
    parser.add_argument("cases", nargs="*", default=list(_CASES), help=f"{', '.join(_CASES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="objects of a tenth of the size")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/benchmarks.md")
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    load = [os.getloadavg()[0]]
    scale = 100_000 if options.quick else 1_000_000
    sizes = {name: mb * scale for case in options.cases for name, mb in _CASES[case][1].items()}
    sections = []
    with scratch(6_000_000_000, None) as directory, serving(directory, sizes) as place:
        for name, size in sizes.items():
            (make_video if name.endswith(".mp4") else make_noise)(place.objects / name, size)
        for case in options.cases:
            section = _CASES[case][0](place)
            sections.append(section)
            print(f"\n== {section.name} ==\n{section.text()}\n", flush=True)
    load.append(os.getloadavg()[0])
    loads = " and ".join(f"{one:.1f}" for one in load)
    lowest = ", at the lowest priority beside other programs" if os.nice(0) >= 19 else ""
    about = f"{os.cpu_count()} CPUs, load average {loads} at the start and at the end{lowest}; all in memory."
    print(about)
    if options.write:
        write_block("in-parts", "\n\n".join([about, *(section.markdown() for section in sections)]))


if __name__ == "__main__":
    main()
