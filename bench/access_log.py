"""nginx's log of answers: how many a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ACCESS_LOG = 'log_format brief "$msec $status $uri";'


@dataclass(frozen=True)
class Answer:
    """One answer: when it ended, in seconds since 1970, its status, and the path that was asked for."""

    moment: float
    status: int
    path: str


def parse(text: str) -> list[Answer]:
    """The answers to requests for objects; a line that is not complete is left out."""
    found = []
    for line in text.splitlines():
        words = line.split(" ", 2)
        if len(words) == 3 and words[2] != "/.ready":
            found.append(Answer(float(words[0]), int(words[1]), words[2]))
    return found


def rates(answers: Sequence[Answer], begin: float, lifted_at: float) -> tuple[float, float]:
    """Answers 200 a second: on average until the limit was lifted, and in the best second after."""
    served = [answer.moment for answer in answers if answer.status == 200]
    limited = sum(begin <= moment < lifted_at for moment in served)
    after = Counter(int(moment - lifted_at) for moment in served if moment >= lifted_at)
    return limited / (lifted_at - begin), float(max(after.values(), default=0))


def shares(answers: Sequence[Answer], begin: float, end: float, buckets: Sequence[str]) -> list[int]:
    """How many answers 200 there were for each bucket in that time."""
    served = [answer for answer in answers if answer.status == 200 and begin <= answer.moment < end]
    return [sum(answer.path.startswith(f"/{bucket}/") for answer in served) for bucket in buckets]
