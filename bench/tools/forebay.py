"""Forebay on an empty cache, with default settings: in the process itself, and through one worker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from bench.process import run, working_in
from bench.tools.task import PROGRAMS, Command, Servers, Task, Tool

_PATIENCE_SECONDS = 60.0


def environment(task: Task, cache_dir: Path, dispatch: str = "local", **settings: str) -> dict[str, str]:
    """What a process needs to use a cache directory and the task's server."""
    trust = {}
    if task.endpoint.bundle is not None:
        trust = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(task.endpoint.bundle))
    named = {"DIR": str(cache_dir), "DISPATCH": dispatch, **settings}
    return {
        **task.environment,
        "STORAGE_EMULATOR_HOST": task.endpoint.url,
        **trust,
        **{f"FIFTYONE_MEDIA_CACHE_{name.upper()}": value for name, value in named.items()},
    }


def embedded_servers(cache_dir: Path) -> list[psutil.Process]:
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
        psutil.wait_procs(embedded_servers(cache_dir), timeout=10)


def prefetch(uris: Path) -> list[str]:
    """The command that fetches a list of URIs, and prints the job's status as JSON."""
    return [sys.executable, str(PROGRAMS / "forebay_prefetch.py"), str(uris)]


def listing(task: Task) -> Command:
    """The command that prints the URIs of the bucket."""
    program = [sys.executable, str(PROGRAMS / "forebay_list.py"), f"s3://{task.corpus.bucket}/"]
    return Command(program, environment(task, task.scratch / "listing-cache"))


@contextlib.contextmanager
def _valkey(task: Task, destination: Path) -> Iterator[Servers]:
    # It is started by the command and lives on: the whole of it counts.
    with stopping(destination):
        yield lambda: embedded_servers(destination)


def _form(kind: str, task: Task) -> str:
    """A URI of that kind, for a bucket and a key."""
    return f"{task.endpoint.url}/{{bucket}}/{{key}}" if kind == "url" else f"{kind}://{{bucket}}/{{key}}"


def _files(kind: str) -> Callable[[Task, Path], Path]:
    def where(task: Task, destination: Path) -> Path:
        from forebay.uri import entry_of

        uri = _form(kind, task).format(bucket=task.corpus.bucket, key="key")
        return (destination / "media" / entry_of(uri)).parent

    return where


def _local(name: str, kind: str = "s3") -> Tool:
    def fetch(task: Task, destination: Path) -> Command:
        uris = task.corpus.write_list(task.scratch / "uris", _form(kind, task))
        return Command(prefetch(uris), _with_sources(task, environment(task, destination), kind))

    return Tool(name, fetch, _files(kind), _valkey)


def _with_sources(task: Task, variables: dict[str, str], kind: str) -> dict[str, str]:
    if kind == "az":
        account = {"ACCOUNT": "bench", "ACCOUNT_URL": task.endpoint.url, "KEY": "YmVuY2g="}
        return {**variables, **{f"AZURE_STORAGE_{name}": value for name, value in account.items()}}
    if kind != "url":
        return variables
    # Addresses of this machine are refused unless they are named.
    return {**variables, "FIFTYONE_MEDIA_CACHE_ALLOWED_SOURCES": f'["{task.endpoint.url}/"]'}


def _through_the_fleet(task: Task, destination: Path) -> Command:
    uris = task.corpus.write_list(task.scratch / "uris")
    return Command(prefetch(uris), environment(task, destination, "fleet"))


@contextlib.contextmanager
def _fleet(task: Task, destination: Path) -> Iterator[Servers]:
    others = task.warm_up.write_list(task.scratch / "other-uris")
    settings = environment(task, destination, "fleet")
    with stopping(destination), _worker(settings, task.scratch / "worker.log") as worker:
        _wait_for_worker(prefetch(others), settings, worker)
        yield lambda: [worker, *worker.children(recursive=True), *embedded_servers(destination)]


@contextlib.contextmanager
def _worker(settings: Mapping[str, str], log: Path) -> Iterator[psutil.Process]:
    command = [str(Path(sys.executable).with_name("forebay")), "worker"]
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


def _wait_for_worker(command: Sequence[str], settings: Mapping[str, str], worker: psutil.Process) -> None:
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


local = _local("Forebay")
google = _local("Forebay, gs://", "gs")
azure = _local("Forebay, az://", "az")
web = _local("Forebay, https://", "url")
fleet = Tool("Forebay, one worker of the fleet", _through_the_fleet, _files("s3"), _fleet)
