"""Real Celery workers for tests."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from forebay.cache import MediaCache
from forebay.config import env_name
from tests.servers.process import running


@dataclass
class WorkerProcess:
    """A running worker: its main process and the file that it logs to."""

    pid: int
    log: Path

    def kill(self) -> None:
        """Kills the worker and its children at once."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            for one in [*process.children(recursive=True), process]:
                one.kill()
            process.wait(10)

    def terminate(self) -> None:
        """Asks the worker to end in good order."""
        psutil.Process(self.pid).terminate()


def settings_environment(cache: MediaCache) -> dict[str, str]:
    """The variables that give another process the settings of ``cache``."""
    import json

    fields = cache.config.model_fields
    given = {n: value for n, value in cache.config.model_dump().items() if value != fields[n].default()}
    return {
        env_name(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if name != "dispatch"
    }


@contextlib.contextmanager
def worker(cache: MediaCache, *arguments: str, name: str = "w1") -> Iterator[WorkerProcess]:
    """A worker of the cache's volume, ready to work, as plain Celery starts it."""
    command = [sys.executable, "-m", "celery", "-A", "forebay_worker.app", "worker"]
    command += ["--hostname", f"{name}@test", "--loglevel", "INFO", *arguments]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "worker.log"

        def ready() -> bool:
            found = cache.engine.open_index().workers.all()
            return any(one.name == f"{name}@test" and one.alive for one in found)

        environment = settings_environment(cache) | {"PYTHONFAULTHANDLER": "1"}
        with running(command, log=log, ready=ready, environment=environment, timeout=60) as process:
            # With setpriv in between, the process that we started becomes the worker itself.
            yield WorkerProcess(process.pid, log)
            cache.engine.open_index().workers.retire(f"{name}@test")
