"""What a process has over time, while it runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class Course:
    """Moments, in seconds since the beginning, and a value for each."""

    seconds: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    @property
    def most(self) -> float:
        return max(self.values, default=0.0)

    def above(self, bound: float) -> float:
        """The share of the moments at which the value was above a bound."""
        return sum(value > bound for value in self.values) / len(self.values) if self.values else 0.0


def watch(process: subprocess.Popen[bytes], value: Callable[[], float], every: float) -> Course:
    """Looks at something until a process ends."""
    course, began = Course(), time.monotonic()
    for _ in _until_ended(process, every):
        course.seconds.append(time.monotonic() - began)
        course.values.append(value())
    return course


def _until_ended(process: subprocess.Popen[bytes], every: float) -> Iterator[None]:
    while process.poll() is None:
        yield
        time.sleep(every)
