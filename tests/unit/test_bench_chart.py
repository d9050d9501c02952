"""The chart that shows the speed of each tool, drawn from the rows of a run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench.chart import CHART, NoRowsError, drawn, on_page, write
from bench.page import PAGE, written
from bench.report import Section
from bench.rows.fetching import late

ROWS = [
    ("bare libcurl loop, 256 in flight", "4,404", "1–2"),
    ("Forebay", "4,000", "1–2"),
    ("rclone, 64 transfers", "1,669", "1–2"),
    ("rclone, defaults (1 rounds)", "100", "1–2"),
    ("s5cmd run LIST, defaults", "1,000", "1–2"),
    ("boto3 get_object, 10 threads (1 rounds)", "300", "1–2"),
    ("multi-storage-client, msc sync (1 rounds)", "200", "1–2"),
]


def shapes(svg: str) -> tuple[list[str], list[float]]:
    """The texts of a chart, and the widths of its bars."""
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    texts = [one.text or "" for one in root.iter(f"{space}text")]
    return texts, [float(one.get("width", "")) for one in root.iter(f"{space}rect")]


def test_a_bar_for_each_tool_as_it_is_installed() -> None:
    texts, widths = shapes(drawn(ROWS, "3,000 objects & so on"))

    assert texts[1:] == [
        "3,000 objects & so on",
        *("Forebay", "4,000", "rclone", "100", "s5cmd", "1,000"),
        *("boto3", "300", "multi-storage-client", "200"),
    ]
    assert [round(width / widths[0] * 4000) for width in widths] == [4000, 100, 1000, 300, 200]


def test_a_quick_run_has_fewer_tools_and_says_which_options_one_had() -> None:
    texts, widths = shapes(drawn([row for row in ROWS if "rounds" not in row[0]], ""))

    assert "rclone (64 transfers)" in texts
    assert len(widths) == 3


@pytest.mark.parametrize("rows", [[], ROWS[1:2], ROWS[2:]], ids=["nothing", "Forebay alone", "no Forebay"])
def test_without_something_to_compare_nothing_is_drawn(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    with pytest.raises(NoRowsError):
        write([Section("late", ["3,000 objects"], [(("", "objects/s"), rows)])], tmp_path / "speed.svg")
    assert list(tmp_path.iterdir()) == []


def test_the_rows_that_it_draws_are_measured() -> None:
    from bench.chart import TOOLS

    measured = {row.tool.name for row in late.rows}
    assert {row for _, rows in TOOLS for row in rows} <= measured


def test_what_a_run_writes_on_the_page_is_what_it_draws() -> None:
    # given a run whose figures were written
    run = Section("late", ["3,000 objects of 100,000 bytes, so on."], [(("", "objects/s", "min–max"), ROWS)])
    page = written(PAGE.read_text(), "This machine.", [run], [])

    # then the chart of the page is that of the run
    again = on_page(page)
    assert drawn(again.tables[0][1], again.notes[0]) == drawn(ROWS, run.notes[0])


def test_the_chart_of_the_readme_is_that_of_the_page() -> None:
    section = on_page(PAGE.read_text())
    assert CHART.read_text() == drawn(section.tables[0][1], section.notes[0])
