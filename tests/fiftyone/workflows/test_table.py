"""The page for FiftyOne's users has the table that the tests make."""

from __future__ import annotations

from tests.fiftyone.workflows.table import expected_table, written_table


def test_the_page_has_the_table_of_these_tests() -> None:
    assert written_table() == expected_table(), "run python -m tests.fiftyone.workflows.table"
