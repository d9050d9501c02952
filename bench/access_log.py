"""nginx's log of answers: how many a second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

ACCESS_LOG = 'log_format brief "$msec $status $uri";'
# The first seconds are those of the start, and of finding out how much is allowed.
_BEGINNING_SECONDS = 3


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


def rates(answers: Sequence[Answer], lifted_at: float) -> tuple[float, float]:
    """Answers 200 a second: on average before the limit was lifted, and in the best second after."""
    served = sorted(answer.moment for answer in answers if answer.status == 200)
    if not served:
        return 0.0, 0.0
    begin = served[0] + _BEGINNING_SECONDS
    limited = [moment for moment in served if begin <= moment < lifted_at]
    after = Counter(int(moment - lifted_at) for moment in served if moment >= lifted_at)
    average = len(limited) / (lifted_at - begin) if lifted_at > begin else 0.0
    return average, float(max(after.values(), default=0))
