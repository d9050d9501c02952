"""Usage: python -m bench [WHAT …] [options]. Without arguments: many small objects, beside other tools."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import small
from bench.report import print_budgets


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures Forebay.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is run (default: 5)")
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--size", type=int, default=100_000, help="of an object, in bytes")
    parser.add_argument("--concurrency", type=int, default=16, help="objects at a time, for every tool")
    parser.add_argument("--dir", type=Path, help="where to put the files (default: in memory)")
    parser.add_argument("--only", nargs="+", default=(), help="only tools whose names contain one of these")
    options = parser.parse_args()
    budgets = small.measure(
        objects=options.objects,
        size=options.size,
        concurrency=options.concurrency,
        rounds=options.rounds,
        directory=options.dir,
        only=options.only,
    )
    print_budgets(budgets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
