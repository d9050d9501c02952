"""The processes of a storm: workers and programs, which are kept running and judged when they end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from tests.chaos.storm_client import HANG_SECONDS
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import Volume
from tests.commands import COMMAND
from tests.servers.embedded import eventually

WORKERS = 4
CLIENTS = 4


@dataclass
class Member:
    """A running process.

    Attributes:
        clock: the file by which the clock that it sees is changed, if it can be.
        end: when it should have ended, by the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    volume: Volume
    output: Path
    name: str
    clock: Path | None = None
    end: float = float("inf")

    def signal(self, number: int) -> None:
        """Sends a signal to all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()


class Crew:
    """Workers and programs on all volumes, in turn.

    Args:
        digests: the MD5 of each object, by its URI.
        may_go_back: whether Redis may forget leases and know them again; see `StormRedis`.
    """

    def __init__(
        self,
        directory: Path,
        volumes: list[Volume],
        digests: dict[str, str],
        seed: int,
        seen: Seen,
        *,
        may_go_back: bool,
    ) -> None:
        self._may_go_back = may_go_back
        self._directory = directory
        self._volumes = volumes
        self._digests = digests
        self._random = random.Random(f"programs of {seed}")
        self._seen = seen
        self._number = 0
        self.workers: list[Member] = []
        self.clients: list[Member] = []

    def keep_up(self, left: float) -> None:
        """Replaces what has ended, and judges how it ended."""
        for slot, worker in enumerate(self.workers):
            if worker.process.poll() is not None:
                self._judge_worker(worker)
                self.workers[slot] = self._start_worker(slot)
        while len(self.workers) < WORKERS:
            self.workers.append(self._start_worker(len(self.workers)))
        for slot, client in enumerate(self.clients):
            if client.process.poll() is not None:
                self._judge_client(client)
                self.clients[slot] = self._start_client(slot, left)
            elif time.monotonic() > client.end + HANG_SECONDS:
                self._end_hanging(client, "a program hangs")
        while len(self.clients) < CLIENTS:
            self.clients.append(self._start_client(len(self.clients), left))

    def kill_worker(self, worker: Member) -> None:
        """Kills a worker, and starts another in its place."""
        worker.kill()
        slot = self.workers.index(worker)
        self.workers[slot] = self._start_worker(slot)

    def clients_end(self) -> None:
        """Waits until every program has ended, as each must now that nothing fails any more."""
        for client in self.clients:
            try:
                client.process.wait(HANG_SECONDS)
            except subprocess.TimeoutExpired:
                self._end_hanging(client, "a program hangs although the storm is over")
            self._judge_client(client)
        self.clients = []

    def _end_hanging(self, client: Member, what: str) -> None:
        """Kills a program, and tells where its threads were, and what the index had of it."""
        size = client.output.stat().st_size
        client.signal(signal.SIGUSR1)
        with contextlib.suppress(AssertionError):
            eventually(lambda: client.output.stat().st_size > size)
        with contextlib.closing(MediaCache(MediaCacheConfig(**client.volume.settings))) as cache:
            index = cache.engine.open_index()
            held = {"claims": index.claims.all(), "sessions": index.sessions.all()}
            held |= {"leases": index.leases.all(), "totals": index.entries.totals()}
        client.kill()
        self._seen.violation(f"{what}: {client.name}, pid {client.process.pid}: {held}: {_tail(client)}")

    def workers_end(self) -> None:
        """Tells every worker to end, which it must do in good order."""
        for worker in self.workers:
            if worker.process.poll() is not None:
                self._judge_worker(worker)
            worker.process.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.process.wait(HANG_SECONDS)
            except subprocess.TimeoutExpired:
                self._seen.violation(f"{worker.name} does not end when it is told to: {_tail(worker)}")
        self.kill_all()

    def kill_all(self) -> None:
        for member in [*self.workers, *self.clients]:
            member.kill()
        self.workers, self.clients = [], []

    def _log(self, name: str) -> Path:
        self._number += 1
        return self._directory / f"{self._number:04}-{name}.log"

    def _start_worker(self, slot: int) -> Member:
        volume = self._volumes[slot % len(self._volumes)]
        name = f"worker-{slot}-{volume.name}"
        environment, clock = volume.environment(), None
        # One of each volume has a clock that a fault can change while it runs.
        command = [COMMAND]
        if slot < len(self._volumes):
            clock = self._directory / f"{name}.clock"
            clock.write_text("+0\n")
            command = [sys.executable, "-m", "tests.chaos.storm_worker"]
            environment |= {"FOREBAY_STORM_CLOCK": str(clock)}
        output = self._log(name)
        with output.open("wb") as file:
            process = subprocess.Popen(
                [*command, "worker", "--concurrency", "2"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )
        self._seen.work["workers started"] += 1
        return Member(process, volume, output, name, clock)

    def _judge_worker(self, worker: Member) -> None:
        status, log = worker.process.returncode, worker.output.read_text(errors="replace")
        if status == 2 and "is ready" not in log and "Traceback" not in log:
            # Redis was away when it started, or the disk full, which it said; systemd would start it again.
            self._seen.work["workers that said that they cannot start"] += 1
        else:
            self._seen.violation(f"{worker.name} ended by itself with status {status}: {log[-2000:]}")

    def _start_client(self, slot: int, left: float) -> Member:
        volume = self._volumes[slot % len(self._volumes)]
        seconds = min(left, 5 + self._random.random() * 20)
        what = {
            "settings": volume.settings | {"dispatch": self._random.choice(["local", "fleet", "auto"])},
            "digests": self._digests,
            "may_go_back": self._may_go_back,
            "seed": self._random.randrange(1 << 30),
            "seconds": seconds,
        }
        name = f"program-{slot}-{volume.name}"
        output = self._log(name)
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.storm_client"],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(json.dumps(what).encode())
        process.stdin.close()
        self._seen.work["programs started"] += 1
        return Member(process, volume, output, name, end=time.monotonic() + seconds)

    def _judge_client(self, client: Member) -> None:
        status = client.process.returncode
        if status == -signal.SIGKILL:
            return
        text = client.output.read_text(errors="replace")
        if status != 0 or "Traceback" in text:
            self._seen.violation(f"{client.name} ended with status {status}: {text[-2000:]}")
            return
        told = json.loads(text.splitlines()[-1])
        self._seen.work.update(told["counts"])
        for wrong in told["wrong"]:
            self._seen.violation(f"{client.name}: {wrong}")


def _tail(member: Member) -> str:
    return member.output.read_text(errors="replace")[-6000:]
