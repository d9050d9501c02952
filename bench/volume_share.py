"""How well several workers keep to one limit of a volume: ``python -m bench.volume_share [--requests 200]``.

Workers of one volume, each with the same setting `volume_bwlimit` or `volume_request_limits`, fetch at the
same time. The rates are those of nginx's log, over every ten seconds between the first seconds and the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from bench.access_log import ACCESS_LOG, Answer, parse
from bench.corpus import Corpus
from bench.place import clean_up_when_terminated, scratch
from bench.report import aligned
from bench.server import ENVIRONMENT, nginx
from bench.server.certificates import make_certificates
from bench.server.configuration import Listener, configuration
from bench.server.listings import write_maps
from bench.settings import forget_settings
from forebay.config import MediaCacheConfig
from forebay.volumes.known_volumes import Volumes
from tests.servers.process import free_ports, running
from tests.servers.valkey import valkey

_SIZE = 100_000
_WINDOW_SECONDS = 10.0
_BEGINNING_SECONDS = 2.0
_COMMAND = str(Path(sys.executable).with_name("forebay"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.volume_share", description=__doc__)
    parser.add_argument("--objects", type=int, default=14_000)
    parser.add_argument("--megabytes", type=int, default=50, help="MiB a second")
    parser.add_argument("--requests", type=int, help="a second, in place of the limit of bytes")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    rows = []
    for workers in options.workers:
        with scratch(3 * options.objects * _SIZE, None) as place:
            if options.requests is None:
                setting, limit = ("VOLUME_BWLIMIT", f"{options.megabytes}MB"), options.megabytes
                rates = [
                    rate * _SIZE / (1 << 20) for rate in _measure(place, workers, options.objects, setting)
                ]
            else:
                setting = ("VOLUME_REQUEST_LIMITS", json.dumps({"127.0.0.1": options.requests}))
                limit, rates = options.requests, _measure(place, workers, options.objects, setting)
            low, high = min(rates) / limit, max(rates) / limit
            rows.append((str(workers), f"{low:.3f}x", f"{high:.3f}x"))
            print(workers, rows[-1], flush=True)
    print(aligned(("workers", "lowest 10 s, of the limit", "highest 10 s"), rows))


def _measure(place: Path, workers: int, objects: int, limit: tuple[str, str]) -> list[float]:
    """The objects a second of every ten seconds."""
    corpus, directory = Corpus.make(place / "root", "photos", objects, _SIZE), place / "nginx"
    directory.mkdir()
    make_certificates(directory)
    write_maps(directory, [corpus])
    (port,) = free_ports()
    listener = {"plain": Listener(port, directives=f"access_log {directory}/access.log brief;")}
    text = configuration(place / "root", directory, listener, modules=(), http=ACCESS_LOG)
    with (
        nginx(text, directory, port),
        valkey(place / "valkey") as redis,
        contextlib.ExitStack() as services,
    ):
        os.environ.update(ENVIRONMENT)
        os.environ["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{port}"
        settings = {
            "REDIS_URL": redis.url,
            "DIR": str(place / "cache"),
            "DISPATCH": "fleet",
            "NUM_WORKERS": "2",
            limit[0]: limit[1],
        }
        os.environ.update({f"FIFTYONE_MEDIA_CACHE_{name}": value for name, value in settings.items()})
        volumes = Volumes(MediaCacheConfig())
        for number in range(workers):

            def is_ready(count: int = number + 1) -> bool:
                found = volumes.list()
                return bool(found) and found[0].workers >= count

            command = [_COMMAND, "worker", "--name", f"w{number}"]
            services.enter_context(running(command, log=place / "log", ready=is_ready, timeout=90))
        command = [_COMMAND, "prefetch", f"@{corpus.write_list(place / 'uris')}", "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        volumes.close()
    return windows(parse((directory / "access.log").read_text()))


def windows(answers: Sequence[Answer]) -> list[float]:
    """The objects a second of each ten seconds, without the first seconds and the last one."""
    moments = sorted(answer.moment for answer in answers if answer.status == 200)
    begin, end = moments[0] + _BEGINNING_SECONDS, moments[-1] - 1.0
    found = []
    while begin + _WINDOW_SECONDS <= end:
        number = bisect_left(moments, begin + _WINDOW_SECONDS) - bisect_left(moments, begin)
        found.append(number / _WINDOW_SECONDS)
        begin += 0.1
    return found


if __name__ == "__main__":
    main()
