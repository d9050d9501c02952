"""A lull within a storm: nothing fails, so that no volume downloads an object twice, whoever asks for it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.chaos.storm_client import HANG_SECONDS
from tests.chaos.storm_redis import StormRedis
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import Volume
from tests.commands import COMMAND
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault, Proxy, Request

_OBJECTS = 12
# At the same time, of each volume.
_PREFETCHES = ("local", "auto")
# Each answer takes this long, so that all of them ask while the first still downloads.
_ANSWER = Fault(delay=2.0)


class Lulls:
    """Fresh objects, asked for by several programs at once; the source's log has each once, or once a volume.

    A volume of the group whose turn it is brings an object for all. Right after a storm, it may be one whose
    worker is just being missed, so that the others go to the source themselves.
    """

    def __init__(
        self, seed: int, redis: StormRedis, server: HTTPServer, web: Proxy, directory: Path, seen: Seen
    ) -> None:
        self._random = random.Random(f"lulls of {seed}")
        self._redis = redis
        self._server = server
        self._web = web
        self._directory = directory
        self._seen = seen
        self._number = 0

    def hold(self, volumes: list[Volume]) -> bool:
        """Has the fresh objects prefetched in all volumes, and looks into the source's log.

        Returns:
            whether that says anything: not if the machine was so busy that the Sentinels missed the master,
            as what is in flight at a failover begins again.
        """
        self._number += 1
        targets = [f"/lull-{self._number}-{n:02}.bin" for n in range(_OBJECTS)]
        for target in targets:
            self._server.put(target, self._random.randbytes(self._random.randint(1, 20_000)))
            self._web.fault(target, _ANSWER)
        manifest = self._directory / f"lull-{self._number}.txt"
        manifest.write_text("".join(f"{self._web.endpoint}{target}\n" for target in targets))
        wrong = self._lease(volumes, manifest)
        # The first is for whoever has to notice that Redis was started anew: it counts for nothing.
        for some in (targets[:1], targets[1:]):
            manifest.write_text("".join(f"{self._web.endpoint}{target}\n" for target in some))
            refusals = self._prefetch(volumes, manifest)
        self._seen.work["lulls"] += 1
        if self._redis.settle():
            self._seen.work["lulls with a failover"] += 1
            return False
        if refusals:
            wrong += self._judge_refusals(refusals)
        else:
            wrong += self._judge_downloads(targets[1:], len(volumes))
        for text in wrong:
            self._seen.violation(f"in a lull, {text}")
        return True

    def _lease(self, volumes: list[Volume], manifest: Path) -> list[str]:
        """Keeps the objects in all volumes: one that is evicted between two prefetches, or after it was
        brought for another volume, is rightly downloaded again."""
        command = [COMMAND, "lease", "add", f"@{manifest}", "--for", "120s"]
        wrong = []
        for volume in volumes:
            done = subprocess.run(
                command,
                env=volume.environment(),
                check=False,
                capture_output=True,
                text=True,
                timeout=HANG_SECONDS,
            )
            if done.returncode:
                wrong.append(f"a lease failed: {done.stderr[-2000:]}")
        return wrong

    def _prefetch(self, volumes: list[Volume], manifest: Path) -> list[str]:
        """Prefetches from several programs for each volume; returns what those have said that failed."""
        command = [COMMAND, "prefetch", f"@{manifest}", "--dispatch"]
        running = [
            subprocess.Popen(
                [*command, dispatch],
                env=volume.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for volume in volumes
            for dispatch in _PREFETCHES
        ]
        refusals = []
        for process in running:
            try:
                text, _ = process.communicate(timeout=HANG_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                text, _ = process.communicate()
                self._seen.violation(f"a prefetch hangs in a lull: {text[-1000:]}")
            if process.returncode:
                refusals.append(text)
        return refusals

    def _judge_refusals(self, refusals: list[str]) -> list[str]:
        wrong = []
        for text in refusals:
            if "leased" in text and "Traceback" not in text:
                # Others have leased so much that there is no room; so the log says nothing.
                self._seen.work["lulls without room"] += 1
            else:
                wrong.append(f"a prefetch failed: {text[-2000:]}")
        return wrong

    def _judge_downloads(self, targets: list[str], volumes: int) -> list[str]:
        requests: dict[str, list[Request]] = {target: [] for target in targets}
        for request in self._web.requests:
            # A transfer that gives way to one that needs its room is asked for again; its answer is not read.
            if request.path in requests and not request.given_up:
                requests[request.path].append(request)
        wrong = []
        for target, asked in requests.items():
            self._seen.work["objects whose downloads were counted"] += 1
            if len(asked) == 1:
                self._seen.work["objects that one volume downloaded for all"] += 1
            elif not 1 < len(asked) <= volumes:
                told = "; ".join(
                    f"after {one.arrived - asked[0].arrived:.2f} s, {one.status} with {one.sent} bytes"
                    for one in asked
                )
                wrong.append(f"{target} was downloaded {len(asked)} times by {volumes} volumes: {told}")
        return wrong
