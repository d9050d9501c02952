"""A broadcast to three volumes in three network namespaces, beside three independent downloads.

``python -m bench.neighbours`` needs Linux and root. The cloud is nginx in a namespace of its own, whose link
sends 50 MB/s. Each node is a namespace with an address, a worker and a volume; Redis is outside of them.
Three runs: each volume for itself; as a group; as a group of which one worker is killed in the middle. The
cloud's log tells what left it. ``--write`` puts the figures into ``docs/neighbours.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import redis

from bench.page import write_block
from bench.place import clean_up_when_terminated, scratch
from bench.report import aligned, markdown
from bench.settings import forget_settings
from forebay.embedded import _binary
from tests.servers.process import running

_COMMAND = str(Path(sys.executable).with_name("forebay"))
_NET = "10.213.77."
_REDIS, _CLOUD = f"{_NET}1", f"{_NET}2"
_NODES = {"a": f"{_NET}11", "b": f"{_NET}12", "c": f"{_NET}13"}
_CLOUD_PORT, _REDIS_PORT = 8080, 6379
_PATIENCE_SECONDS = 300.0
_HEAD = (
    "three volumes",
    "seconds",
    "CPU seconds",
    "MB from the cloud",
    "of one copy",
    "requests",
    "asked for twice",
)


@dataclass(frozen=True)
class Found:
    """What one run found.

    Attributes:
        name: of the run.
        seconds: of the broadcast, from the command to its end.
        cpu: seconds of CPU time of the workers that were not killed, from their start.
        sent: bytes of bodies that the cloud's log has.
        requests: lines of the cloud's log.
        again: objects that were asked for more than once.
    """

    name: str
    seconds: float
    cpu: float
    sent: int
    requests: int
    again: int


def obstacle() -> str:
    """Why this machine cannot run it; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            return f"there is no {tool}: install iproute2"
    if shutil.which("nginx") is None:
        return "there is no nginx"
    name = f"fbtry{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "no network namespace can be made here"
    subprocess.run(["ip", "netns", "del", name], check=True)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.neighbours", description=__doc__)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--size", type=int, default=100_000, help="of an object, in bytes")
    parser.add_argument("--rate", type=int, default=50, help="of the cloud, in MB/s")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/neighbours.md")
    options = parser.parse_args()
    if reason := obstacle():
        raise SystemExit(f"skipped: {reason}")
    forget_settings()
    clean_up_when_terminated()
    whole = options.objects * options.size
    with scratch(4 * whole, None) as place, _network(options.rate):
        urls = _objects(place / "root", options.objects, options.size)
        runs = [
            _run(place / "alone", urls, "each for itself", group=False),
            _run(place / "group", urls, "as a group", group=True),
            _run(place / "killed", urls, "as a group; one is killed in the middle", group=True, kill=True),
        ]
    rows = [
        (
            one.name,
            f"{one.seconds:.1f}",
            f"{one.cpu:.1f}",
            f"{one.sent / 1e6:,.1f}",
            f"{one.sent / whole:.3f}",
            f"{one.requests:,}",
            f"{one.again:,}",
        )
        for one in runs
    ]
    print(aligned(_HEAD, rows))
    if options.write:
        write_block("neighbours", markdown(_HEAD, rows), Path("docs/neighbours.md"))


def _objects(root: Path, count: int, size: int) -> list[str]:
    (root / "photos").mkdir(parents=True)
    # Names of one file: in memory, they take the room of one.
    (root / "photo").write_bytes(os.urandom(size))
    for number in range(count):
        (root / "photos" / f"{number:05}.bin").hardlink_to(root / "photo")
    return [f"http://{_CLOUD}:{_CLOUD_PORT}/photos/{number:05}.bin" for number in range(count)]


@contextlib.contextmanager
def _network(rate: int) -> Iterator[None]:
    """A bridge with this machine's address, and a namespace for the cloud and for each node."""
    spaces = {"cloud": _CLOUD, **_NODES}
    with contextlib.ExitStack() as undo:
        _ip("link", "add", "fbnb", "type", "bridge")
        undo.callback(_ip, "link", "del", "fbnb")
        _ip("addr", "add", f"{_REDIS}/24", "dev", "fbnb")
        _ip("link", "set", "fbnb", "up")
        for name, address in spaces.items():
            space = _space(name)
            _ip("netns", "add", space)
            undo.callback(_ip, "netns", "del", space)
            _ip("link", "add", f"fbo-{name}", "type", "veth", "peer", "name", "fbi", "netns", space)
            # A process that has not quite ended keeps a namespace, and its end of the pair.
            undo.callback(_ip, "link", "del", f"fbo-{name}")
            _ip("link", "set", f"fbo-{name}", "master", "fbnb", "up")
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", "fbi")
            _ip("-n", space, "link", "set", "fbi", "up")
            _ip("-n", space, "link", "set", "lo", "up")
        limit = ["root", "tbf", "rate", f"{8 * rate}mbit", "burst", "256k", "latency", "100ms"]
        subprocess.run(
            ["ip", "netns", "exec", _space("cloud"), "tc", "qdisc", "add", "dev", "fbi", *limit], check=True
        )
        yield


def _space(name: str) -> str:
    return f"fbn-{name}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _run(place: Path, urls: list[str], name: str, *, group: bool, kill: bool = False) -> Found:
    place.mkdir()
    (place / "uris").write_text("\n".join(urls) + "\n")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(_redis(place / "redis"))
        log = stack.enter_context(_cloud(place / "cloud", place.parent / "root"))
        settings = {
            "FIFTYONE_MEDIA_CACHE_REDIS_URL": f"redis://{_REDIS}:{_REDIS_PORT}/0",
            "FIFTYONE_MEDIA_CACHE_ALLOWED_SOURCES": f"http://{_CLOUD}:{_CLOUD_PORT}/",
        }
        if group:
            settings["FIFTYONE_MEDIA_CACHE_GROUP"] = "bench"
        workers = {}
        for volume, address in _NODES.items():
            own = {
                "FIFTYONE_MEDIA_CACHE_VOLUME": volume,
                "FIFTYONE_MEDIA_CACHE_DIR": str(place / volume),
                "FIFTYONE_MEDIA_CACHE_GROUP_ADDRESS": address,
            }
            workers[volume] = stack.enter_context(_worker(place, volume, settings | own, client))
        began = time.monotonic()
        sent = _broadcast(place, settings, client, len(urls), workers["c"].pid if kill else None)
        seconds = sent - began
        cpu = sum(_cpu(process.pid) for process in workers.values())
        lines = [line.split() for line in log.read_text().splitlines()]
    asked = Counter(path for _, _, path in lines if path.startswith("/photos/"))
    total = sum(int(size) for _, size, path in lines if path.startswith("/photos/"))
    found = Found(name, seconds, cpu, total, asked.total(), sum(count > 1 for count in asked.values()))
    print(found, flush=True)
    for volume in _NODES:
        shutil.rmtree(place / volume, ignore_errors=True)
    return found


def _broadcast(
    place: Path, settings: Mapping[str, str], client: redis.Redis, objects: int, victim: int | None
) -> float:
    """Prefetches for all three volumes; returns when it had ended, on the monotonic clock."""
    command = [_COMMAND, "prefetch", "--volume", "a,b,c", f"@{place / 'uris'}", "--json"]
    with subprocess.Popen(
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=(place / "prefetch.log").open("wb"),
    ) as prefetch:
        if victim is None:
            out, _ = prefetch.communicate(timeout=_PATIENCE_SECONDS)
            _check(out, place)
            return time.monotonic()
        while client.hlen("forebay:{c}:entries") < objects // 2:
            time.sleep(0.05)
        # Its session is its own, as `running` starts it, so that nothing else is in its group.
        os.killpg(victim, signal.SIGKILL)
        # The job of the volume without a worker never ends; that of the others does.
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while any(client.hlen(f"forebay:{{{volume}}}:entries") < objects for volume in "ab"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the others have not ended: see {place}")
            time.sleep(0.05)
        ended = time.monotonic()
        prefetch.terminate()
        return ended


def _check(out: bytes, place: Path) -> None:
    found = json.loads(out)
    if found.get("failed"):
        raise RuntimeError(f"not everything was downloaded: see {place}: {found}")


def _cpu(pid: int) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


@contextlib.contextmanager
def _redis(place: Path) -> Iterator[redis.Redis]:
    place.mkdir()
    client = redis.Redis(_REDIS, _REDIS_PORT, decode_responses=True)

    def ready() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    command = [_binary.find(), "--bind", _REDIS, "--port", str(_REDIS_PORT), "--protected-mode", "no"]
    command += ["--dir", str(place), "--save", "", "--maxmemory-policy", "noeviction"]
    with running(command, log=place / "log", ready=ready):
        yield client


@contextlib.contextmanager
def _cloud(place: Path, root: Path) -> Iterator[Path]:
    """nginx in its namespace; gives its log, with what left it for each request."""
    place.mkdir()
    log = place / "access.log"
    (place / "nginx.conf").write_text(
        f"""daemon off; pid {place}/pid; user root; worker_processes 1; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  log_format egress "$status $body_bytes_sent $uri";
  access_log {log} egress;
  client_body_temp_path {place}/1; proxy_temp_path {place}/2; fastcgi_temp_path {place}/3;
  uwsgi_temp_path {place}/4; scgi_temp_path {place}/5;
  keepalive_requests 100000; sendfile on; tcp_nopush on;
  server {{ listen {_CLOUD}:{_CLOUD_PORT}; root {root}; }}
}}
"""
    )
    command = [
        "ip",
        "netns",
        "exec",
        _space("cloud"),
        "nginx",
        "-c",
        str(place / "nginx.conf"),
        "-p",
        str(place),
    ]
    with running(command, log=place / "log", ready=lambda: (place / "pid").exists() and log.exists()):
        yield log


@contextlib.contextmanager
def _worker(
    place: Path, volume: str, settings: Mapping[str, str], client: redis.Redis
) -> Iterator[subprocess.Popen[bytes]]:
    command = ["ip", "netns", "exec", _space(volume), _COMMAND, "worker", "--name", f"w-{volume}"]
    log = place / f"{volume}.log"
    with running(
        command,
        log=log,
        ready=lambda: client.hlen(f"forebay:{{{volume}}}:workers") > 0,
        environment=dict(settings),
        timeout=90,
    ) as process:
        yield process


if __name__ == "__main__":
    main()
