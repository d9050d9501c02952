"""Usage: python -m bench [WHAT …] [options]. Without arguments: many small objects, beside other tools."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import again, ahead, app, index, large, listing, small
from bench.report import Budget, print_budgets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Forebay.")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(_names())}; default: small")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run (default: 5)")
    parser.add_argument("--dir", type=Path, help="where to put the files (default: in memory)")
    group = parser.add_argument_group("small")
    group.add_argument("--objects", type=int, default=5000)
    group.add_argument("--size", type=int, default=100_000, help="of an object, in bytes")
    group.add_argument("--concurrency", type=int, default=16, help="objects at a time, for every tool")
    group.add_argument("--only", nargs="+", default=(), help="tools whose names contain one of these")
    options = parser.parse_args()
    unknown = [name for name in options.what if name not in _names()]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(_names())}")
    _forget_settings()
    measurements = _measurements(options)
    print(f"{os.cpu_count()} CPUs, load average {os.getloadavg()[0]:.1f} before the first run")
    budgets: list[Budget] = []
    for name in measurements if "all" in options.what else options.what or ["small"]:
        print(f"\n{name}\n")
        budgets += measurements[name](rounds=options.rounds, directory=options.dir)
    print_budgets(budgets)
    return 0


def _forget_settings() -> None:
    """Measures with defaults, whatever this machine is configured for."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "FIFTYONE_MEDIA_CACHE_"))]:
        del os.environ[name]
    os.environ["FIFTYONE_MEDIA_CACHE_CONFIG_PATH"] = str(Path(__file__).with_name("settings.json"))


def _names() -> list[str]:
    return [*_measurements(argparse.Namespace(objects=0, size=0, concurrency=0, only=())), "all"]


def _measurements(options: argparse.Namespace) -> dict[str, Callable[..., list[Budget]]]:
    shape = {name: getattr(options, name) for name in ("objects", "size", "concurrency", "only")}
    return {
        "small": partial(small.measure, **shape),
        "large": large.measure,
        "listing": listing.measure,
        "second": again.second,
        "hit": again.hit,
        "startup": again.startup,
        "ahead": ahead.measure,
        "app": app.measure,
        "index": index.size,
        "evict": index.evict,
    }


if __name__ == "__main__":
    sys.exit(main())
