"""Forebay on an empty cache: with the threads of the process itself, and through one worker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from bench.process import Run, cpu_seconds, run, working_in
from bench.tools.task import PROGRAMS, Task, Tool

_PATIENCE_SECONDS = 60.0


def _files(task: Task, destination: Path) -> Path:
    return destination / "media" / "s3" / task.corpus.bucket


def environment(task: Task, cache_dir: Path, dispatch: str) -> dict[str, str]:
    """What a process needs to use a cache directory and the task's server."""
    settings = {"DIR": str(cache_dir), "NUM_WORKERS": str(task.concurrency), "DISPATCH": dispatch}
    named = {f"FIFTYONE_MEDIA_CACHE_{name}": value for name, value in settings.items()}
    return {**task.environment, **named}


def _servers(cache_dir: Path) -> list[psutil.Process]:
    """The embedded Valkey and its supervisor."""
    return working_in(str(cache_dir / ".forebay" / "valkey"))


@contextlib.contextmanager
def stopping(cache_dir: Path) -> Iterator[None]:
    """Stops the embedded Valkey of a cache afterwards, and waits until it is gone."""
    try:
        yield
    finally:
        from forebay import embedded

        embedded.stop(str(cache_dir))
        psutil.wait_procs(_servers(cache_dir), timeout=10)


def prefetch(uris: Path) -> list[str]:
    """The command that fetches a list of URIs, and prints the job's status as JSON."""
    return [sys.executable, str(PROGRAMS / "forebay_prefetch.py"), str(uris)]


def _local(task: Task, destination: Path) -> Run:
    return _run(task, destination, prefetch(task.corpus.write_list(task.scratch / "uris")))


def _command(task: Task, destination: Path) -> Run:
    uris = task.corpus.write_list(task.scratch / "uris")
    return _run(task, destination, [str(Path(sys.executable).with_name("forebay")), "prefetch", f"@{uris}"])


def _run(task: Task, destination: Path, command: list[str]) -> Run:
    with stopping(destination):
        done = run(command, environment(task, destination, "local"))
        # Its Valkey was started by it and lives on: the whole of it counts.
        return replace(done, cpu=done.cpu + cpu_seconds(_servers(destination)))


def _fleet(task: Task, destination: Path) -> Run:
    uris = task.corpus.write_list(task.scratch / "uris")
    others = task.warm_up.write_list(task.scratch / "other-uris")
    settings = environment(task, destination, "fleet")
    with stopping(destination), _worker(settings, task.scratch / "worker.log") as worker:
        _wait_for_worker(prefetch(others), settings, worker)
        fleet = [worker, *worker.children(recursive=True), *_servers(destination)]
        before = cpu_seconds(fleet)
        done = run(prefetch(uris), settings)
        return replace(done, cpu=done.cpu + cpu_seconds(fleet) - before)


@contextlib.contextmanager
def _worker(settings: dict[str, str], log: Path) -> Iterator[psutil.Process]:
    command = [sys.executable, "-m", "celery", "-A", "forebay_worker.app", "worker", "--loglevel", "warning"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_worker(command: list[str], settings: dict[str, str], worker: psutil.Process) -> None:
    """Has the worker fetch something else, as soon as it is there."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            run(command, settings)
        except Exception:
            if time.monotonic() > deadline or not worker.is_running():
                raise
            time.sleep(0.5)
        else:
            return


local = Tool("Forebay, local", _local, _files)
command = Tool("forebay prefetch @LIST", _command, _files)
fleet = Tool("Forebay, one worker", _fleet, _files)
