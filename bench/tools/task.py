"""What every tool is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import Corpus
from bench.process import Run
from bench.server import ENVIRONMENT

PROGRAMS = Path(__file__).parent.parent / "programs"


@dataclass(frozen=True)
class Task:
    """Fetch all objects of a corpus into an empty directory.

    Attributes:
        warm_up: a few other objects, for what has to be warmed up.
        endpoint: of the server.
        concurrency: how many objects at a time.
        scratch: a directory for lists and configuration files.
    """

    corpus: Corpus
    warm_up: Corpus
    endpoint: str
    concurrency: int
    scratch: Path

    @property
    def environment(self) -> dict[str, str]:
        """The credentials and the endpoint, as AWS's own tools read them."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: as in the tables.
        run: fetches into a directory and tells what that took; a context of its own is not measured.
        files: where in that directory the objects then lie.
    """

    name: str
    run: Callable[[Task, Path], Run]
    files: Callable[[Task, Path], Path] = lambda task, destination: destination
