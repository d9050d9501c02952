"""Which workflow works for which kind of media: every test of this directory says it, and
``python -m tests.fiftyone.workflows.table`` writes the table of ``docs/fiftyone.md`` from that."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

KINDS = ("images", "groups", "masks", "videos", "point clouds", "scenes")

IMAGES, GROUPS, MASKS, VIDEOS, CLOUDS, SCENES = KINDS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "fiftyone.md"
_BEGIN = "<!-- workflows: written by tests/fiftyone/workflows/table.py -->\n"
_END = "<!-- end of workflows -->"

Test = Callable[..., Any]


@dataclass
class _Row:
    """One workflow: the word for each kind of media for which it makes sense."""

    module: str
    section: str
    cells: dict[str, str] = field(default_factory=dict)


_rows: dict[str, _Row] = {}


def works(workflow: str, *kinds: str) -> Callable[[Test], Test]:
    """The decorated test shows that a workflow works, for each of these kinds of media."""
    return _enter(workflow, kinds, "works")


def refused(workflow: str, *kinds: str, because: str) -> Callable[[Test], Test]:
    """The decorated test shows that a workflow says at once why it does not work."""
    return _enter(workflow, kinds, f"no: {because}")


def expected_table() -> str:
    """The table of every workflow, in the order of the tests."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")
    reasons: list[str] = []
    lines = []
    section = None
    # Running only some of the tests imports them in another order.
    for workflow, row in sorted(_rows.items(), key=lambda item: item[1].module):
        if row.section != section:
            section = row.section
            lines += ["", f"### {section}", ""]
            lines += ["| | " + " | ".join(KINDS) + " |", "|---" * (len(KINDS) + 1) + "|"]
        cells = [_cell(row.cells.get(kind), reasons) for kind in KINDS]
        lines.append(f"| {workflow} | {' | '.join(cells)} |")
    lines += ["", *(f"({number}) {reason}.  " for number, reason in enumerate(reasons, 1))]
    return "\n".join(lines).strip()


def written_table() -> str:
    """The table as the page has it."""
    return PAGE.read_text().partition(_BEGIN)[2].partition(_END)[0].strip()


def _enter(workflow: str, kinds: tuple[str, ...], word: str) -> Callable[[Test], Test]:
    def enter(test: Test) -> Test:
        module = importlib.import_module(test.__module__)
        section = (module.__doc__ or "").strip().rstrip(".")
        row = _rows.setdefault(workflow, _Row(module=test.__module__, section=section))
        row.cells.update(dict.fromkeys(kinds, word))
        return pytest.mark.parametrize("twins", kinds, indirect=True)(test)  # type: ignore[no-any-return]

    return enter


def _cell(word: str | None, reasons: list[str]) -> str:
    if word is None:
        return "–"
    if not word.startswith("no: "):
        return word
    reason = word.removeprefix("no: ")
    if reason not in reasons:
        reasons.append(reason)
    return f"no ({reasons.index(reason) + 1})"


if __name__ == "__main__":
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    # As the package's module, which is the one that the tests have entered their workflows in.
    table = importlib.import_module("tests.fiftyone.workflows.table").expected_table()
    PAGE.write_text(f"{before}{begin}\n{table}\n\n{_END}{rest.partition(_END)[2]}")
