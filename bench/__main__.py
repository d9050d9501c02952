"""Usage: python -m bench [PART …] [--quick] [--write]. Without arguments: every budget, in one run."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from bench import chart, page, parts
from bench.place import clean_up_when_terminated
from bench.report import Section, aligned, verdict_table
from bench.scale import FULL, QUICK, Scale
from bench.settings import forget_settings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures every budget of Forebay.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts.NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="fewer objects, rounds and tools: two minutes")
    parser.add_argument("--write", action="store_true", help="write figures and chart into docs")
    parser.add_argument("--rounds", type=int, help="how often each is run")
    parser.add_argument("--objects", type=int, help="how many small objects")
    parser.add_argument("--dir", type=Path, help="where to put the files (default: in memory)")
    parser.add_argument("--only", nargs="+", default=(), help="tools whose names contain one of these")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in parts.NAMES]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(parts.NAMES)}")
    if options.write and (options.parts or options.only):
        parser.error("--write takes the figures of one whole run: name no parts and no tools")
    return _measure(tuple(options.parts) or parts.NAMES, scale_of(options), write=options.write)


def scale_of(options: argparse.Namespace) -> Scale:
    """How much is to be measured."""
    scale = QUICK if options.quick else FULL
    chosen = {name: getattr(options, name) for name in ("rounds", "objects")}
    given = {name: value for name, value in chosen.items() if value is not None}
    return replace(scale, directory=options.dir, only=tuple(options.only), **given)


def _measure(names: tuple[str, ...], scale: Scale, *, write: bool) -> int:
    forget_settings()
    clean_up_when_terminated()
    began, load = time.monotonic(), [os.getloadavg()[0]]
    print(f"{os.cpu_count()} CPUs, load average {load[0]:.1f} before the first run")
    sections: list[Section] = []
    for section in parts.measure(names, scale):
        sections.append(section)
        print(f"\n== {section.name} ==\n{section.text()}\n", flush=True)
        if section.verdicts:
            print(aligned(*verdict_table(section.verdicts)), flush=True)
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    load.append(os.getloadavg()[0])
    about = page.machine(load, "a quick run" if scale.quick else f"{scale.rounds} rounds")
    print(f"\n== every budget ==\n{about} {time.monotonic() - began:.0f} s in all\n")
    print(aligned(*verdict_table(verdicts)))
    if write:
        page.PAGE.write_text(page.written(page.PAGE.read_text(), about, sections, verdicts))
        chart.write(sections)
    return 1 if any(one.reached is None and not one.required for one in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
