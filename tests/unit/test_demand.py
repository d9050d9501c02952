"""What a process asks for of a shared rate."""

from __future__ import annotations

import pytest

from forebay.index.shares import ALL
from forebay.transport import Use
from forebay.volume.demand import Demand


def test_who_waits_for_its_first_part_asks_for_all() -> None:
    assert Demand().next(Use(0, was_short=True), 0.0, 100.0, 1.0) == ALL


def test_who_uses_its_part_asks_for_all() -> None:
    assert Demand().next(Use(95, was_short=False), 100.0, 1000.0, 1.0) == ALL


def test_who_uses_less_asks_for_a_little_more_than_that() -> None:
    demand = Demand()

    assert demand.next(Use(20, was_short=False), 100.0, 1000.0, 2.0) == pytest.approx(12.5)
    # which is no reason to ask for all when it has got it
    assert demand.next(Use(25, was_short=False), 12.5, 1000.0, 2.5) == pytest.approx(12.5)


def test_who_waits_for_one_of_few_asks_for_all() -> None:
    # Two a minute: in most seconds there is none.
    assert Demand().next(Use(0, was_short=True), 2 / 60, 1.0, 1.0) == ALL
    # Five a second, of which four fit into this one.
    assert Demand().next(Use(4, was_short=True), 5.0, 10.0, 1.0) == ALL
    assert Demand().next(Use(4, was_short=False), 5.0, 10.0, 1.0) == 5.0


def test_who_uses_nothing_gives_its_part_back_after_two_rounds() -> None:
    demand = Demand()
    demand.next(Use(95, was_short=False), 100.0, 1000.0, 1.0)

    assert demand.next(Use(0, was_short=False), 100.0, 1000.0, 1.0) == 10.0
    assert demand.next(Use(0, was_short=False), 100.0, 1000.0, 1.0) == 0.0


def test_nothing_is_asked_for_before_anything_is_wanted() -> None:
    assert Demand().next(Use(0, was_short=False), 0.0, 100.0, 1.0) == 0.0
