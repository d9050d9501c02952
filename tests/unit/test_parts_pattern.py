"""What is fetched ahead of a reader, by what it has read."""

from __future__ import annotations

import random

import pytest

from forebay.parts.pattern import Pattern


def ahead(pattern: Pattern, *numbers: int) -> list[list[int]]:
    return [pattern.read(number) for number in numbers]


def test_one_step_is_no_pattern() -> None:
    assert ahead(Pattern(100), 0) == [[]]
    assert ahead(Pattern(100), 0, 1) == [[], []]
    assert ahead(Pattern(100), 7, 7, 8) == [[], [], []]


def test_who_goes_on_gets_more_and_more_each_block_once_and_none_beyond_the_end() -> None:
    pattern = Pattern(1000)
    given: list[int] = []
    for number in range(1000):
        wanted = pattern.read(number)
        assert all(number < one for one in wanted)
        given += wanted
    assert given == list(range(3, 1000))


def test_no_more_than_a_bounded_number_is_wanted_ahead() -> None:
    pattern, furthest = Pattern(10_000), 0
    for number in range(5000):
        furthest = max([furthest, *pattern.read(number)])
        assert furthest - number <= 128


@pytest.mark.parametrize("most", [0, 1, 5])
def test_a_small_cache_has_room_for_fewer(most: int) -> None:
    pattern, furthest = Pattern(1000, most), 0
    for number in range(500):
        furthest = max([furthest, *pattern.read(number)])
        assert furthest <= number + most


@pytest.mark.parametrize("step", [3, -2, -1])
def test_who_leaves_out_as_many_each_time_gets_the_next_of_those(step: int) -> None:
    start = 500
    pattern, given = Pattern(1000), set[int]()
    for turn in range(100):
        given.update(pattern.read(start + turn * step))
    assert {start + turn * step for turn in range(3, 100)} <= given
    assert {(one - start) % abs(step) for one in given} == {0}


def test_who_jumps_about_gets_nothing() -> None:
    chosen, pattern = random.Random(3), Pattern(1 << 20)
    assert [wanted for _ in range(2000) if (wanted := pattern.read(chosen.randrange(1 << 20)))] == []
