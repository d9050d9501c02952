"""What notebooks show: tables, whose values are text, in the colours of the page around them."""

from __future__ import annotations

import copy
import json
import pickle
from html.parser import HTMLParser
from typing import Any

import pytest

from forebay.errors import Failure
from forebay.jobs.status import JobStatus
from forebay.tables import MAX_ROWS, Described, TableList
from forebay.volume.leases import LeaseStatus

NASTY = "<script>alert('x')</script>&\"\udcff"


class Parsed(HTMLParser):
    """The tags of a page, and the texts of its cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def shown(value: Any) -> Parsed:
    return Parsed(value._repr_html_())


def text_of(stats: dict[str, Any]) -> dict[str, str]:
    return {"cache directory": stats["cache_dir"]}


JOB = JobStatus.parse(
    NASTY, {"created": "0", "finished": "60", "total": "2000", "lease": NASTY, "dispatch": NASTY}
)


@pytest.mark.parametrize(
    "value",
    [
        JOB,
        Failure(NASTY, NASTY, 3),
        LeaseStatus(NASTY, 60.0, 5),
        Described({"cache_dir": NASTY}, text_of),
        TableList([JOB], "jobs"),
        TableList([Failure(NASTY, NASTY, 3)], "failures"),
        TableList([LeaseStatus(NASTY, 60.0, 5)] * (MAX_ROWS + 1), "leases"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_are_text_whatever_is_in_them(value: Any) -> None:
    page = shown(value)

    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "em", "p"}
    assert "<script>alert('x')</script>&\"\\udcff" in page.texts
    value._repr_html_().encode()
    # No colours, which would not be seen on a dark page or on a light one.
    assert {name for name, _ in page.attributes} <= {"style"}
    assert {style for _, style in page.attributes} <= {"text-align: left", "text-align: right"}


def test_a_list_is_a_table_with_a_line_for_each() -> None:
    page = shown(TableList([LeaseStatus("train", 3600.0, 12_000), LeaseStatus("other", 5.0, 1)], "leases"))

    assert page.tags.count("tr") == 3
    assert page.texts == [
        "lease",
        "expires in",
        "entries",
        "train",
        "60 min",
        "12,000",
        "other",
        "5.0 s",
        "1",
    ]


def test_a_long_list_shows_its_beginning() -> None:
    failures = TableList((Failure(f"s3://b/{n}", "gone", 1) for n in range(MAX_ROWS + 1234)), "failures")

    page = shown(failures)

    assert page.tags.count("tr") == MAX_ROWS + 1
    assert page.texts[-1] == "and 1,234 more failures"


def test_an_empty_list_says_so() -> None:
    assert shown(TableList([], "jobs")).texts == ["no jobs"]


def test_a_list_and_a_dictionary_are_what_they_were() -> None:
    leases = TableList([LeaseStatus("train", 3600.0, 1)], "leases")
    stats = Described({"cache_dir": "/cache", "load_factor": 0.5}, text_of)

    assert leases == [LeaseStatus("train", 3600.0, 1)]
    assert repr(leases) == repr(list(leases))
    assert stats == {"cache_dir": "/cache", "load_factor": 0.5}
    assert repr(stats) == repr(dict(stats))
    assert json.loads(json.dumps(stats)) == stats
    for one in (leases, stats):
        for twin in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
            assert twin == one
            assert twin._repr_html_() == one._repr_html_()
