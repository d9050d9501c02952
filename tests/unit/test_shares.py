"""How a local job, and what a process may use, is divided among processes."""

from __future__ import annotations

import pytest

from forebay.cli.service_commands import _divide_bandwidth
from forebay.cli.shared_options import State
from forebay.config import MediaCacheConfig
from forebay.jobs import helpers
from forebay.jobs.helpers import Helpers, processes_for
from forebay.jobs.share import Division
from forebay.transport import transport


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers.capacity, "auto", lambda: 8)


@pytest.mark.parametrize(
    ("wanted", "samples", "expected"),
    [
        ("auto", 1, 1),
        ("auto", 1999, 1),
        ("auto", 2000, 2),
        ("auto", 5000, 3),
        ("auto", 1_000_000, 4),
        (1, 1_000_000, 1),
        (2, 1_000_000, 2),
        (16, 1_000_000, 16),
        (16, 5000, 3),
    ],
)
def test_as_many_processes_as_are_worth_their_start(wanted: int, samples: int, expected: int) -> None:
    assert processes_for(wanted, samples) == expected  # type: ignore[arg-type]


def test_every_message_has_one_owner_and_the_first_ones_are_downloaded_where_the_job_is() -> None:
    division = Division(3, first=4)

    assert [division.owner(message) for message in range(10)] == [0, 0, 0, 0, 1, 2, 0, 1, 2, 0]


def test_a_job_that_is_not_divided_has_one_owner() -> None:
    assert {Division().owner(message) for message in range(10)} == {0}


def test_a_helper_has_its_part_of_what_the_settings_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[MediaCacheConfig] = []
    monkeypatch.setattr(helpers, "HelperProcess", lambda part, example: parts.append(part))

    Helpers(MediaCacheConfig(max_requests=200, num_workers=8, bwlimit="40MB"), 4)

    assert [(one.max_requests, one.num_workers, one.bwlimit) for one in parts] == [(50, 2, str(10 << 20))] * 3
    assert [one.max_buffered_bytes for one in parts] == [64 << 20] * 3


def test_the_processes_of_a_worker_share_its_bandwidth() -> None:
    state = State(given={"bwlimit": "40MB"})

    _divide_bandwidth(state, MediaCacheConfig(bwlimit="40MB"), 4)

    assert state.given["bwlimit"] == str(10 << 20)


@pytest.mark.parametrize(("allowed", "room"), [(64, 10), (1024, 350)])
def test_few_descriptors_are_few_requests_and_more_than_one(
    allowed: int, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (allowed, allowed))
    monkeypatch.setattr(transport.os, "listdir", lambda path: ["0"] * 20)

    assert room <= transport._room_for_requests() < allowed // 2
