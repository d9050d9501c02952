"""What a process asks for of a shared rate."""

from __future__ import annotations

import pytest

from forebay.index.shares import ALL
from forebay.volume.demand import Demand


def test_who_waits_for_its_first_part_asks_for_all() -> None:
    assert Demand().next(0.0, 0.0, 100.0, 1.0, wanted=True) == ALL


def test_who_uses_its_part_asks_for_all() -> None:
    assert Demand().next(95.0, 100.0, 1000.0, 1.0, wanted=False) == ALL


def test_who_uses_less_asks_for_a_little_more_than_that() -> None:
    demand = Demand()

    assert demand.next(20.0, 100.0, 1000.0, 2.0, wanted=False) == pytest.approx(12.5)
    # which is no reason to ask for all when it has got it
    assert demand.next(25.0, 12.5 * 2.5, 1000.0, 2.5, wanted=False) == pytest.approx(12.5)


def test_who_uses_nothing_gives_its_part_back_after_two_rounds() -> None:
    demand = Demand()
    demand.next(95.0, 100.0, 1000.0, 1.0, wanted=False)

    assert demand.next(0.0, 100.0, 1000.0, 1.0, wanted=False) == 10.0
    assert demand.next(0.0, 100.0, 1000.0, 1.0, wanted=False) == 0.0


def test_nothing_is_asked_for_before_anything_is_wanted() -> None:
    assert Demand().next(0.0, 0.0, 100.0, 1.0, wanted=False) == 0.0
