"""A lull within a storm: nothing fails, so that no volume downloads an object twice, whoever asks for it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.chaos.storm_client import HANG_SECONDS
from tests.chaos.storm_seen import Seen
from tests.chaos.storm_volumes import Volume
from tests.commands import COMMAND
from tests.servers.http_server import HTTPServer
from tests.servers.proxy import Fault, Proxy

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

    def __init__(self, seed: int, server: HTTPServer, web: Proxy, directory: Path, seen: Seen) -> None:
        self._random = random.Random(f"lulls of {seed}")
        self._server = server
        self._web = web
        self._directory = directory
        self._seen = seen
        self._number = 0

    def hold(self, volumes: list[Volume]) -> None:
        """Has the fresh objects prefetched in all volumes, and looks into the source's log."""
        self._number += 1
        targets = [f"/lull-{self._number}-{n:02}.bin" for n in range(_OBJECTS)]
        for target in targets:
            self._server.put(target, self._random.randbytes(self._random.randint(1, 20_000)))
            self._web.fault(target, _ANSWER)
        manifest = self._directory / f"lull-{self._number}.txt"
        manifest.write_text("".join(f"{self._web.endpoint}{target}\n" for target in targets))
        self._lease(volumes, manifest)
        # The first is for whoever has to notice that Redis was started anew: it counts for nothing.
        for some in (targets[:1], targets[1:]):
            manifest.write_text("".join(f"{self._web.endpoint}{target}\n" for target in some))
            ended = self._prefetch(volumes, manifest)
        self._seen.work["lulls"] += 1
        if refusals := [text for status, text in ended if status != 0]:
            self._judge_refusals(refusals)
            return
        asked = self._web.counts()
        for target in targets[1:]:
            self._seen.work["objects whose downloads were counted"] += 1
            times = asked.get(target, 0)
            if times == 1:
                self._seen.work["objects that one volume downloaded for all"] += 1
            elif not 1 < times <= len(volumes):
                told = f"{times} times by {len(volumes)} volumes"
                self._seen.violation(f"{target} was downloaded {told} in a lull")

    def _lease(self, volumes: list[Volume], manifest: Path) -> None:
        """Keeps the objects in all volumes: one that is evicted between two prefetches, or after it was
        brought for another volume, is rightly downloaded again."""
        command = [COMMAND, "lease", "add", f"@{manifest}", "--for", "120s"]
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
                self._seen.violation(f"a lease failed in a lull: {done.stderr[-2000:]}")

    def _prefetch(self, volumes: list[Volume], manifest: Path) -> list[tuple[int, str]]:
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
        ended = []
        for process in running:
            try:
                text, _ = process.communicate(timeout=HANG_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                text, _ = process.communicate()
                self._seen.violation(f"a prefetch hangs in a lull: {text[-1000:]}")
            ended.append((process.returncode, text))
        return ended

    def _judge_refusals(self, refusals: list[str]) -> None:
        for text in refusals:
            if "leased" in text and "Traceback" not in text:
                # Others have leased so much that there is no room; so the log says nothing.
                self._seen.work["lulls without room"] += 1
            else:
                self._seen.violation(f"a prefetch failed in a lull: {text[-2000:]}")
