"""What every tool is asked to do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from bench.corpus import Corpus
from bench.process import Run, cpu_seconds, run, status_bytes
from bench.server import ENVIRONMENT, Endpoint

PROGRAMS = Path(__file__).parent.parent / "programs"


@dataclass(frozen=True)
class Task:
    """Fetch all objects of a corpus into an empty directory.

    Attributes:
        warm_up: a few other objects, for what has to be warmed up.
        endpoint: of the server.
        scratch: a directory for lists and configuration files.
    """

    corpus: Corpus
    warm_up: Corpus
    endpoint: Endpoint
    scratch: Path

    @property
    def environment(self) -> dict[str, str]:
        """The credentials, the endpoint and its authority, as AWS's own tools read them."""
        variables = {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint.url}
        if self.endpoint.bundle is not None:
            variables["AWS_CA_BUNDLE"] = str(self.endpoint.bundle)
        return variables


@dataclass(frozen=True)
class Command:
    """A program, its arguments, and what it needs in its environment."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


Servers = Callable[[], list[psutil.Process]]


@contextlib.contextmanager
def _nothing(task: Task, destination: Path) -> Iterator[Servers]:
    yield list


def _itself(task: Task, destination: Path) -> Path:
    return destination


def _there() -> str | None:
    return None


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: as in the tables.
        command: what fetches into a directory.
        files: where in that directory the objects then lie.
        beside: what has to be there while the command runs, unmeasured; gives the servers whose CPU and
            memory count with those of the command.
        missing: why the tool cannot be measured here.
    """

    name: str
    command: Callable[[Task, Path], Command]
    files: Callable[[Task, Path], Path] = _itself
    beside: Callable[[Task, Path], AbstractContextManager[Servers]] = _nothing
    missing: Callable[[], str | None] = _there

    def run(self, task: Task, destination: Path) -> Run:
        """Fetches into a directory and tells what that took."""
        command = self.command(task, destination)
        with self.beside(task, destination) as servers:
            before = cpu_seconds(servers())
            done = run(command.words, command.environment)
            left = servers()
            memory = sum(status_bytes(process.pid)[1] for process in left)
            return replace(done, cpu=done.cpu + cpu_seconds(left) - before, rss=done.rss + memory)
