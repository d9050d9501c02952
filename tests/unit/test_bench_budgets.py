"""Ratios, bounds and verdicts of the benchmark, without running anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.budgets import Bound, MemoryBound, Verdict, best, paired
from bench.process import Run, parse_status
from bench.rows import fetching
from bench.scale import FULL, QUICK


def runs(*seconds: float, cpu: float = 1.0, rss: int = 0) -> list[Run]:
    return [Run(wall=each, cpu=cpu, rss=rss, output="") for each in seconds]


def test_a_ratio_is_the_median_of_those_within_each_round() -> None:
    assert paired(runs(2, 40, 3), runs(1, 10, 3), "wall") == 2.0


def test_rounds_that_only_one_has_are_left_out() -> None:
    assert paired(runs(2), runs(1, 100, 100), "wall") == 2.0


def test_the_best_peer_is_the_one_with_the_least_median() -> None:
    found = {"a": runs(1, 5, 5), "b": runs(4, 4, 4), "c": runs(9, 9, 9)}
    assert best(found, ["a", "b", "c"], "wall") == "b"


def test_speed_is_the_best_peers_seconds_to_ours() -> None:
    bound = Bound("speed", "ours", ("slow", "fast"), least=1.5)
    found = {"ours": runs(1, 1), "fast": runs(2, 2), "slow": runs(9, 9)}
    assert bound.judge(found) == Verdict("speed", ">= 1.50x", "2.00x", True)
    assert bound.judge({**found, "ours": runs(2, 2)}).word == "NOT REACHED"


def test_cost_is_our_cpu_to_that_of_the_cheapest_peer() -> None:
    bound = Bound("cost", "ours", ("bare", "other"), most=1.6)
    found = {"ours": runs(1, cpu=3), "bare": runs(9, cpu=2), "other": runs(1, cpu=4)}
    assert bound.judge(found) == Verdict("cost", "<= 1.60x", "1.50x", True)


@pytest.mark.parametrize("found", [{}, {"ours": runs(1)}, {"peer": runs(1)}, {"ours": [], "peer": runs(1)}])
def test_what_was_not_run_is_neither_reached_nor_missed(found: dict[str, list[Run]]) -> None:
    verdict = Bound("speed", "ours", ("peer",), least=3.0).judge(found)
    assert (verdict.reached, verdict.word) == (None, "-")
    assert verdict.measured.startswith("not measured: no run of")


def test_memory_is_the_most_of_any_round() -> None:
    bound = MemoryBound("memory", "ours", 150)
    assert bound.judge({"ours": [*runs(1, rss=10**8), *runs(1, rss=2 * 10**8)]}).measured == "200 MB"
    assert bound.judge({}).reached is None


def test_every_bound_speaks_of_rows_that_exist_and_a_quick_run_measures_ours() -> None:
    for comparison in (fetching.small, fetching.late, fetching.late_tls, fetching.large):
        names = {row.tool.name for row in comparison.chosen(FULL)}
        quick = {row.tool.name for row in comparison.chosen(QUICK)}
        assert quick <= names
        assert len(names) == len(comparison.rows)
        for bound in comparison.bounds:
            assert bound.ours in names
            if isinstance(bound, Bound):
                assert set(bound.peers) <= names
                assert bound.ours not in quick or quick & set(bound.peers)


def test_only_bounds_on_rows_that_were_asked_for_are_judged() -> None:
    full, quick = fetching.small.asked(FULL), fetching.small.asked(QUICK)
    assert full == list(fetching.small.bounds)
    assert [bound for bound in full if bound not in quick] == [
        bound for bound in full if bound.ours == "Forebay, one worker of the fleet"
    ]
    assert fetching.late.asked(replace(FULL, only=("s5cmd", "rclone"))) == []


def test_resident_memory_is_read_from_a_status() -> None:
    text = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t1\n"
    assert parse_status(text) == (1 << 20, 2 << 20)
    assert parse_status("Name:\tzombie\nState:\tZ\n") == (0, 0)
