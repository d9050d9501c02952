"""What a run found: tables and notes by section, for the terminal and for the documentation."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.budgets import Verdict

Table = tuple[Sequence[str], Sequence[Sequence[str]]]


@dataclass
class Section:
    """What one part of the benchmark found.

    Attributes:
        name: of its block in the documentation.
        notes: sentences before the tables.
        tables: a head and rows each.
        verdicts: on the budgets.
    """

    name: str
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    def text(self) -> str:
        """As it is printed."""
        return "\n\n".join([*self.notes, *(aligned(*table) for table in self.tables)])

    def markdown(self) -> str:
        """As it stands in the documentation."""
        return "\n\n".join([*self.notes, *(markdown(*table) for table in self.tables)])


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """What was required, what was measured, and whether that is enough."""
    rows = [(one.what, one.required, one.measured, one.word) for one in verdicts]
    return ("budget", "required", "measured", ""), rows


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for the documentation; Forebay's rows are bold in their first column."""
    lines = [head, ["---"] * len(head)]
    lines += [[f"**{row[0]}**" if row[0].startswith("Forebay") else row[0], *row[1:]] for row in rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def spread(values: Sequence[float], form: Callable[[float], str]) -> tuple[str, str]:
    """The median, and the range from the least to the greatest."""
    return form(statistics.median(values)), f"{form(min(values))}–{form(max(values))}"


class NoBlockError(Exception):
    """A page has no place for a block."""


def replace_block(page: str, name: str, text: str) -> str:
    """Puts a text between ``<!-- bench: NAME -->`` and ``<!-- /bench: NAME -->``.

    Raises:
        NoBlockError: the page has no such place.
    """
    begin, end = f"<!-- bench: {name} -->", f"<!-- /bench: {name} -->"
    pattern = re.compile(re.escape(begin) + r"\n.*?" + re.escape(end), re.DOTALL)
    changed, count = pattern.subn(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", page)
    if count != 1:
        raise NoBlockError(f"the page has {count} blocks named {name!r}")
    return changed
