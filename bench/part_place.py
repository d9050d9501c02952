"""The objects of `bench.in_parts`, the servers that have them, and the processes that read them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.corpus import Corpus
from bench.server import ENVIRONMENT, LATE_SECONDS, nginx
from bench.server.certificates import make_certificates
from bench.server.configuration import Listener, configuration, lua_modules, sleeping
from bench.server.listings import write_maps
from bench.tools.task import PROGRAMS
from tests.servers.process import free_ports

MIB = 1 << 20
BUCKET = "own-etags"
_LOG = 'log_format parts "$status $body_bytes_sent $server_port $http_range $uri";'
_LINE = re.compile(r"(\d+) (\d+) (\d+) (\S+) (\S+)")
_WARM = "warm.bin"


@dataclass(frozen=True)
class Place:
    """The objects, and the servers that have them.

    Attributes:
        directory: for caches and the like.
        objects: the files that are served.
        ports: of the servers, by name: ``at once`` and ``late``.
    """

    directory: Path
    objects: Path
    ports: dict[str, int]

    def url(self, server: str, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[server]}/{BUCKET}/{name}"

    def requests(self, name: str) -> list[tuple[str, int]]:
        """Range and bytes of every answer for an object so far."""
        # What has just been answered is in the log a moment later.
        time.sleep(0.1)
        found = [match.groups() for match in map(_LINE.match, self._log.read_text().splitlines()) if match]
        return [(line[3], int(line[1])) for line in found if line[4] == f"/{BUCKET}/{name}"]

    def forget(self) -> None:
        """Empties the log."""
        os.truncate(self._log, 0)

    @property
    def _log(self) -> Path:
        return self.directory / "nginx" / "access.log"

    def environment(self, server: str, cache: str, **settings: str) -> dict[str, str]:
        """What a process needs to use a cache and a server."""
        named = {"DIR": str(self.directory / cache), "DISPATCH": "local", **settings}
        return {
            **ENVIRONMENT,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[server]}",
            "BENCH_FSSPEC_CACHE": str(self.directory / f"{cache}-fsspec"),
            **{f"FIFTYONE_MEDIA_CACHE_{name}": value for name, value in named.items()},
        }


@contextlib.contextmanager
def serving(directory: Path, sizes: dict[str, int]) -> Iterator[Place]:
    work, objects = directory / "nginx", directory / "root" / BUCKET
    work.mkdir()
    objects.mkdir(parents=True)
    make_certificates(work)
    # rclone looks a file up in the listing of its directory.
    listed = {name: hashlib.md5(name.encode()).hexdigest() for name in sizes if name == "large.bin"}
    write_maps(work, [Corpus(directory / "root", BUCKET, (sizes.get("large.bin", 0),), listed)])
    (objects / _WARM).write_bytes(b"warm")
    at_once, late = free_ports(2)
    log = f"access_log {work}/access.log parts;"
    modules = lua_modules()
    if not modules:
        raise RuntimeError("the server that answers late needs nginx's Lua module")
    listeners = {
        "at-once": Listener(at_once, directives=log),
        "late": Listener(late, directives=f"{log} {sleeping(LATE_SECONDS)}"),
    }
    text = configuration(directory / "root", work, listeners, modules=modules, http=_LOG)
    with nginx(text, work, at_once):
        yield Place(directory, objects, {"at once": at_once, "late": late})


def start(
    place: Place, what: str, how: str, of: str, *, seed: int = 1, count: int = 0, **env: str
) -> subprocess.Popen[str]:
    words = [sys.executable, str(PROGRAMS / "part_reads.py"), what, how, of, str(seed), str(count)]
    return subprocess.Popen(words, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a reader ended with {process.returncode}")
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def make_video(path: Path, size: int) -> None:
    """A video of noise: a tenth of it is encoded, and repeated."""
    seconds = size / 10 * 8 / 24e6
    clip = path.with_suffix(".clip.mp4")
    quiet = ["ffmpeg", "-v", "error", "-y"]
    source = ["-f", "lavfi", "-i", f"testsrc2=s=1280x720:r=30:d={seconds:.2f},noise=alls=60:allf=t"]
    rate = ["-b:v", "24M", "-minrate", "24M", "-maxrate", "24M", "-bufsize", "12M"]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "12", *rate]
    subprocess.run([*quiet, *source, *codec, str(clip)], check=True)
    subprocess.run([*quiet, "-stream_loop", "9", "-i", str(clip), "-c", "copy", str(path)], check=True)
    clip.unlink()


def make_noise(path: Path, size: int) -> None:
    chosen = random.Random(size)
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(chosen.randbytes(min(MIB, size - start)))
