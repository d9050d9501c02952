"""The training example: killed in the middle of an epoch, it goes on, and nothing is fetched twice."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from examples.photos import photographs
from tests.caches import MakeCache
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import settings_environment, worker

SCRIPT = Path(__file__).parents[2] / "examples" / "train.py"
COUNT, BATCH = 240, 16
STEP = re.compile(r"epoch (\d+) step (\d+)/15 loss (\S+) input wait (\S+) ms")
Place = tuple[int, int]


@dataclass
class Run:
    """A run of the script: what it prints, as it comes."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def until(self, epoch: int, step: int) -> None:
        """Reads on until the script has done a step."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith(f"epoch {epoch} step {step}/"):
                return
        pytest.fail(f"it ended before step {step} of epoch {epoch}:\n" + "\n".join(self.lines))

    def finish(self) -> None:
        assert self.process.stdout is not None
        self.lines += [line.rstrip() for line in self.process.stdout]
        assert self.process.wait(60) == 0, "\n".join(self.lines)

    def kill(self) -> None:
        """Kills the script at once, and not the processes that it has started."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def kill_all(self) -> None:
        """Kills the script and all processes that it has started, at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    @property
    def losses(self) -> dict[Place, str]:
        """The loss of each step."""
        found = (STEP.fullmatch(line) for line in self.lines)
        return {(int(one[1]), int(one[2])): one[3] for one in found if one is not None}


@dataclass
class Training:
    """Starts the script on a manifest.

    Attributes:
        environment: the settings of the cache, and where S3 is.
    """

    directory: Path
    uris: list[str]
    environment: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[Run]:
        manifest = self.directory / "manifest.txt"
        manifest.write_text("".join(f"{uri}\n" for uri in self.uris))
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(manifest), "--epochs", "2", *arguments],
            cwd=self.directory,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield Run(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def slow(s3_proxy: Proxy, s3_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """S3 through a proxy that lets each object wait for a moment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    s3_proxy.fault(None, Fault(delay=0.05))
    return s3_proxy


@pytest.fixture
def training(s3_server: S3Server, s3_bucket: str, tmp_path: Path) -> Training:
    """240 photographs of ten classes in a bucket."""
    objects = {name.removeprefix("photos/"): body for name, body in photographs(COUNT)}
    return Training(tmp_path, s3_server.put_many(s3_bucket, objects))


def fetched(proxy: Proxy) -> dict[str, int]:
    """How often each object was asked for, by URI."""
    return {f"s3:/{path}": times for path, times in proxy.counts("GET").items()}


def test_a_run_that_is_killed_goes_on_and_every_object_is_fetched_once(
    training: Training, make_cache: MakeCache, slow: Proxy
) -> None:
    # Given a worker of the volume, and a run that is in the middle of its first epoch
    cache = make_cache(dispatch="fleet", num_workers=2)
    training.environment = settings_environment(cache) | {"FIFTYONE_MEDIA_CACHE_DISPATCH": "fleet"}
    with worker(cache):
        with training.running("--checkpoint-every", "2") as killed:
            killed.until(epoch=0, step=3)

            # When it is killed while there is more to fetch, and started again
            killed.kill()
            before = fetched(slow)
        assert 3 * BATCH <= len(before) < COUNT
        with training.running("--checkpoint-every", "2") as resumed:
            resumed.finish()

    # Then it goes on after the last checkpoint, and does what was done since once more, with the same result
    assert resumed.lines[0] == "resuming after step 2 of epoch 0"
    rest = [(0, step) for step in range(3, 16)] + [(1, step) for step in range(1, 16)]
    assert list(resumed.losses) == rest
    assert resumed.losses[0, 3] == killed.losses[0, 3]

    # And it has told how long it waited, and every object was asked for once
    assert re.match(r"input wait: \S+ s of \S+ s in 28 steps, median", resumed.lines[-1])
    assert fetched(slow) == dict.fromkeys(training.uris, 1)


def test_without_a_fleet_the_processes_of_the_loader_finish_what_was_under_way(
    training: Training, make_cache: MakeCache, slow: Proxy
) -> None:
    # Given a run whose loader's processes fetch by themselves
    cache = make_cache(max_requests=4)
    training.environment = settings_environment(cache) | {"FIFTYONE_MEDIA_CACHE_DISPATCH": "local"}
    with training.running("--checkpoint-every", "2") as killed:
        killed.until(epoch=0, step=3)

        # When it is killed while they fetch, and started again
        killed.kill()
        assert len(fetched(slow)) < COUNT
        with training.running("--checkpoint-every", "2") as resumed:
            resumed.finish()

    # Then it goes on, and nothing is fetched twice
    assert resumed.lines[0] == "resuming after step 2 of epoch 0"
    assert fetched(slow) == dict.fromkeys(training.uris, 1)


def test_without_a_fleet_only_what_killed_processes_were_fetching_is_fetched_again(
    training: Training, make_cache: MakeCache, slow: Proxy
) -> None:
    # Given a run whose two loader's processes fetch by themselves
    cache = make_cache(max_requests=4, claim_ttl_seconds=2)
    training.environment = settings_environment(cache) | {"FIFTYONE_MEDIA_CACHE_DISPATCH": "local"}
    with training.running("--epochs", "1") as killed:
        killed.until(epoch=0, step=3)

        # When all of its processes are killed while they fetch, and it is started again
        killed.kill_all()
        assert len(fetched(slow)) < COUNT
    with training.running("--epochs", "1") as resumed:
        resumed.finish()

    # Then only what was in flight is fetched again
    times = fetched(slow)
    assert set(times) == set(training.uris)
    assert sum(times.values()) - COUNT <= 2 * 4
    assert max(times.values()) <= 2


def test_what_cannot_be_had_ends_it_in_two_lines(
    make_cache: MakeCache, s3_environment: dict[str, str], s3_bucket: str, tmp_path: Path
) -> None:
    # Given a manifest that names an object which is not there
    manifest, missing = tmp_path / "manifest.txt", f"s3://{s3_bucket}/cats/none.jpg"
    manifest.write_text(f"{missing}\n")
    environment = dict(os.environ) | settings_environment(make_cache())

    def run(path: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), str(path), "--checkpoint", str(tmp_path / "run.pt")]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    # When somebody trains on it, then the run names the object, and the command that lists all of them
    done = run(manifest)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        f"error: forebay.SampleError: sample 0: {missing}: no such object (404 Not Found: NoSuchKey)",
        f"`forebay prefetch @{manifest}` fetches all it can and lists every failure",
    ]
    assert "Traceback" not in done.stderr

    # And without a manifest it says so
    none = run(tmp_path / "none.txt")
    assert none.returncode == 2
    assert none.stderr.endswith(f"error: there is no manifest {tmp_path}/none.txt\n")
