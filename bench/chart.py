"""The chart of the README: the speed of each tool as it is installed, drawn from the rows of one run.

``python -m bench --write`` draws it from its run; ``python -m bench.chart`` from the figures on the page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.page import PAGE
from bench.report import Section

CHART = PAGE.parent / "images" / "speed.svg"
# The part of the benchmark that is drawn: a server that answers late, as a cloud does.
PART = "late"
# A tool's name in the chart, and its row's; the first of them that the run has.
TOOLS = (
    ("Forebay", ("Forebay",)),
    ("rclone", ("rclone, defaults", "rclone, 64 transfers")),
    ("s5cmd", ("s5cmd run LIST, defaults",)),
    ("boto3", ("boto3 get_object, 10 threads",)),
    ("multi-storage-client", ("multi-storage-client, msc sync",)),
)
_WIDTH, _LEFT, _ROW, _TOP = 720, 190, 34, 58
# How the server was made late, say: the page tells it.
_ASIDE = re.compile(r" \([^)]*\)")
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;font-size:16px}"
    ".ours{font-weight:600}rect{fill:#9aa4ae}rect.ours{fill:#009485}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}rect{fill:#6e7681}}"
)


class NoRowsError(Exception):
    """There are no figures to draw."""


@dataclass(frozen=True)
class Bar:
    """One tool.

    Attributes:
        rate: objects a second.
        note: which options it had, if they are not its defaults.
    """

    name: str
    rate: float
    note: str = ""


def bars(rows: Sequence[Sequence[str]]) -> list[Bar]:
    """The tools that were measured.

    Args:
        rows: of the table of a run: a name, and objects a second.
    """
    rates = {re.sub(r" \(\d+ rounds\)\Z", "", row[0]): float(row[1].replace(",", "")) for row in rows}
    found = []
    for name, known in TOOLS:
        row = next((one for one in known if one in rates), None)
        if row is not None:
            found.append(Bar(name, rates[row], "" if row == known[0] else row.partition(", ")[2]))
    return found


def drawn(rows: Sequence[Sequence[str]], what: str) -> str:
    """The chart as SVG.

    Args:
        what: was fetched, and how.

    Raises:
        NoRowsError: Forebay is not among the rows, or nothing else is.
    """
    found = bars(rows)
    if len(found) < 2 or found[0].name != "Forebay":
        raise NoRowsError("a chart needs the row of Forebay, and another one")
    scale = (_WIDTH - _LEFT - 150) / max(bar.rate for bar in found)
    unless = ", unless noted" if any(bar.note for bar in found) else ""
    title = f"Objects fetched a second, every tool as it is installed{unless}"
    lines = [
        f'<text class="title" x="0" y="18">{title}</text>',
        f'<text x="0" y="40">{escape(_ASIDE.sub("", what))}</text>',
    ]
    for number, bar in enumerate(found):
        y, width = _TOP + number * _ROW, max(2.0, bar.rate * scale)
        kind = ' class="ours"' if number == 0 else ""
        name = bar.name + (f" ({bar.note})" if bar.note else "")
        lines += [
            f'<text{kind} x="{_LEFT - 10}" y="{y + 18}" text-anchor="end">{escape(name)}</text>',
            f'<rect{kind} x="{_LEFT}" y="{y + 2}" width="{width:.1f}" height="22" rx="2"/>',
            f'<text{kind} x="{_LEFT + width + 8:.1f}" y="{y + 18}">{bar.rate:,.0f}</text>',
        ]
    height = _TOP + len(found) * _ROW
    said = "; ".join(f"{bar.name} {bar.rate:,.0f}" for bar in found)
    body = "\n".join(lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img">\n<title>Objects a second: {escape(said)}</title>\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )


def write(sections: Sequence[Section], path: Path = CHART) -> None:
    """Draws the chart of a run.

    Raises:
        NoRowsError: the run has not what the chart shows.
    """
    for section in sections:
        if section.name == PART and section.tables:
            path.write_text(drawn(section.tables[0][1], section.notes[0]))
            return
    raise NoRowsError(f"the run has no part {PART!r}")


def on_page(page: str) -> Section:
    """The part that is drawn, as it stands on the page.

    Raises:
        NoRowsError: the page has no such block.
    """
    block = re.search(rf"<!-- bench: {PART} -->\s+(.*?)\s+<!-- /bench: {PART} -->", page, re.DOTALL)
    if block is None:
        raise NoRowsError(f"the page has no block {PART!r}")
    notes, _, table = block[1].partition("\n\n|")
    cells = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()]
    return Section(PART, notes.split("\n\n"), [(cells[0], cells[2:])])


if __name__ == "__main__":
    write([on_page(PAGE.read_text())])
