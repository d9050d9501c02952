"""How near a prefetch comes to the limit of its bandwidth: ``python -m bench.bandwidth``.

The start of the process is not counted: it is the time of a prefetch of one object.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.corpus import Corpus
from bench.place import clean_up_when_terminated, scratch
from bench.process import run
from bench.report import aligned
from bench.server import serving
from bench.settings import forget_settings
from bench.tools import forebay
from bench.tools.task import Task

_SIZE = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.bandwidth", description=__doc__)
    parser.add_argument("--objects", type=int, default=4000)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[20, 50, 100], help="MiB a second")
    options = parser.parse_args()
    forget_settings()
    clean_up_when_terminated()
    rows = []
    with scratch(3 * options.objects * _SIZE, None) as place:
        corpus = Corpus.make(place / "root", "photos", options.objects, _SIZE)
        one = Corpus.make(place / "root", "one", 1, _SIZE)
        with serving(place / "root", place / "nginx", corpus, one) as site:
            endpoint = site.endpoints["plain"]

            def seconds(what: Corpus, name: str, **settings: str) -> float:
                here: Path = place / name
                here.mkdir()
                with forebay.stopping(here / "cache"):
                    task = Task(what, what, endpoint, here)
                    environment = forebay.environment(task, here / "cache", **settings)
                    return run(forebay.prefetch(what.write_list(here / "uris")), environment).wall

            start = seconds(one, "start")
            for rate in options.megabytes:
                took = seconds(corpus, f"at-{rate}", bwlimit=f"{rate}MB") - start
                reached = options.objects * _SIZE / took / (1 << 20)
                rows.append((f"{rate} MB/s", f"{reached:.1f} MB/s", f"{reached / rate:.2f}x"))
    print(aligned(("limit", "reached", "of the limit"), rows))


if __name__ == "__main__":
    main()
