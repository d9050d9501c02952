"""Figures in the prose of the pages are those of the code.

`FIGURES` is the table: for each page the sentences that state a figure, each with the constant or setting
that the figure must equal. A row fails when the constant changes or moves, and when the sentence is
rewritten. Measured figures have no constant: they are stated in ``docs/benchmarks.md`` only.
"""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

from forebay.config import MediaCacheConfig

REPOSITORY = Path(__file__).resolve().parents[2]
KIB, MIB, MINUTE, HOUR, DAY = 1 << 10, 1 << 20, 60, 3600, 86400

# Sentence, constant ("module:NAME" or "setting:name"), unit. The sentence is a regular expression in
# which a space matches a line break, too; its group is the figure.
FIGURES: dict[str, list[tuple[str, str, float]]] = {
    "docs/life-of-a-sample.md": [
        (r"claims up to (\S+) objects with one request", "forebay.fetch.fetcher:BATCH", 1),
        (r"commits up to (\S+) downloads with one request", "forebay.fetch.fetcher:BATCH", 1),
        (r"when (\S+) s have passed since the last commit", "forebay.fetch.fetcher:_FLUSH_SECONDS", 1),
        (r"claimed again, at most (\S+) times", "forebay.fetch.fetcher:_LOST_CLAIMS", 1),
        (r"`claim_ttl_seconds` \((\S+) s\)", "setting:claim_ttl_seconds", 1),
        (r"Each call is repeated for (\S+) s", "forebay.index.connection:PATIENCE_SECONDS", 1),
    ],
    "docs/jobs-and-dispatch.md": [
        (r"up to (\S+) samples to fetch: 1 sample", "forebay.jobs.fleet:SINGLES", 1),
        (r"leaves (\S+) messages for each worker thread", "forebay.jobs.fleet:SHARE", 1),
        (r"at most (\S+) samples a message", "forebay.jobs.fleet:LARGEST_PACK", 1),
        (r"sample by sample, for at most (\S+) minutes", "forebay_worker.tasks:_BUDGET_SECONDS", MINUTE),
        (r"sends a heartbeat every (\S+) s", "forebay_worker.lifecycle:_BEAT_SECONDS", 1),
        (r"monitor of each worker \(every (\S+) s\)", "forebay_worker.lifecycle:_BEAT_SECONDS", 1),
        (r"counts as alive for (\S+) s", "forebay.jobs.fleet:ALIVE_SECONDS", 1),
        (r"has begun or ended a message for (\S+) s", "forebay.jobs.fleet:STUCK_SECONDS", 1),
        (r"for (\S+) s with an empty queue", "forebay.jobs.dispatcher:STALL_SECONDS", 1),
        (r"for (\S+) s while other messages wait", "forebay.jobs.dispatcher:STALL_SECONDS", 0.1),
        (r"monitor notices a loss after (\S+) s", "forebay.jobs.dispatcher:STALL_SECONDS", 1),
        (r"`worker_timeout_seconds` \((\S+) s\)", "setting:worker_timeout_seconds", 1),
        (r"`job_ttl_seconds` \((\S+) days\)", "setting:job_ttl_seconds", DAY),
        (r"calls are repeated for (\S+) s", "forebay.index.connection:PATIENCE_SECONDS", 1),
        (r"workers began a message (\S+) times", "forebay_worker.tasks:_PACK_ATTEMPTS", 1),
        (r"ends a worker (\S+) times", "forebay_worker.tasks:_SAMPLE_ATTEMPTS", 1),
        (r"visibility timeout \| (\S+) hour", "forebay.jobs.fleet:VISIBILITY_SECONDS", HOUR),
        (r"shutdown \| (\S+) s in all", "forebay.jobs.fleet:DRAIN_SECONDS+SOFT_SHUTDOWN_SECONDS", 1),
    ],
    "docs/eviction-and-leases.md": [
        (r"`grace_seconds` \((\S+) s\) after each use", "setting:grace_seconds", 1),
        (r"when nothing has changed for (\S+) s", "forebay.eviction.eviction:_PATIENCE_SECONDS", 1),
        (r"index and disk, within (\S+) hours", "forebay.volume.maintenance:_SWEEP_SECONDS", HOUR),
    ],
}
ROWS = [(page, *row) for page, rows in FIGURES.items() for row in rows]


@pytest.mark.parametrize(("page", "sentence", "constant", "unit"), ROWS, ids=str)
def test_a_figure_in_prose_is_that_of_the_code(page: str, sentence: str, constant: str, unit: float) -> None:
    text = (REPOSITORY / page).read_text()
    found = re.findall(sentence.replace(" ", r"\s+"), text)
    assert found, f"{page} does not say {sentence!r} any more: change this table with it"
    assert [number(figure) * unit for figure in found] == [value_of(constant)] * len(found)


def test_words_and_separators_are_understood() -> None:
    assert [number(text) for text in ("four", "65,536", "0.25", "an", "20")] == [4, 65_536, 0.25, 1, 20]
    with pytest.raises(ValueError, match="several"):
        number("several")


def test_a_changed_constant_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    page, sentence, constant, unit = ROWS[0]
    module, _, name = constant.partition(":")
    monkeypatch.setattr(import_module(module), name, 32)
    with pytest.raises(AssertionError):
        test_a_figure_in_prose_is_that_of_the_code(page, sentence, constant, unit)


def number(text: str) -> float:
    """A figure, as a page writes it.

    Raises:
        ValueError: it is not a number.
    """
    words = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "ten": 10}
    return words[text] if text in words else float(text.replace(",", ""))


def value_of(constant: str) -> float:
    """The value of a constant ("module:NAME", or "module:NAME+NAME" for a sum) or a setting's default."""
    place, _, names = constant.partition(":")
    if place == "setting":
        return float(MediaCacheConfig.model_fields[names].default)
    module = import_module(place)
    return float(reduce(lambda total, name: total + getattr(module, name), names.split("+"), 0.0))
