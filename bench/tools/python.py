"""Programs of a few lines around a library, as people write them, and the ceilings: bare loops."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from bench.tools.task import PROGRAMS, Command, Task, Tool


def _program(name: str, *words: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / f"{name}.py"), *words]


def _boto3(task: Task, destination: Path) -> Command:
    keys = task.corpus.write_list(task.scratch / "keys", "{key}")
    destination.mkdir()
    words = [task.corpus.bucket, str(keys), str(destination), "10"]
    return Command(_program("boto3_threads", *words), task.environment)


def _libcurl(in_flight: int) -> Tool:
    def fetch(task: Task, destination: Path) -> Command:
        keys = task.corpus.write_list(task.scratch / "keys", "{key}")
        destination.mkdir()
        words = [f"{task.endpoint.url}/{task.corpus.bucket}", str(keys), str(destination), str(in_flight)]
        words += [] if task.endpoint.bundle is None else [str(task.endpoint.bundle)]
        return Command(_program("pycurl_multi", *words))

    return Tool(f"bare libcurl loop, {in_flight} in flight", fetch)


def _obstore(task: Task, destination: Path) -> Command:
    keys = task.corpus.write_list(task.scratch / "keys", "{key}")
    destination.mkdir()
    trust = {} if task.endpoint.bundle is None else {"SSL_CERT_FILE": str(task.endpoint.bundle)}
    words = [task.corpus.bucket, str(keys), str(destination), "16"]
    return Command(_program("obstore_threads", *words), {**task.environment, **trust})


def _without_obstore() -> str | None:
    return None if find_spec("obstore") else "obstore is not installed"


# As many threads as its client keeps connections, unless told otherwise.
boto3 = Tool("boto3 get_object, 10 threads", _boto3)
libcurl_16 = _libcurl(16)
libcurl_256 = _libcurl(256)
obstore = Tool("bare obstore loop, 16 threads", _obstore, missing=_without_obstore)
