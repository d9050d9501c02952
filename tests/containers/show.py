"""The fleet of ``compose.yaml`` at work on an engine: ``python -m tests.containers.show``.

Prints what it runs and what that prints; ``docs/fleet-transcript.md`` was made with it. Needs the images:
``docker compose --profile demo build``, after ``docker/offline-images`` where no registry is in reach.
Raises where something is not as it should be. With ``--keep``, the containers go on afterwards.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.containers.compose import COMPOSE, REPOSITORY, Compose, new_env
from tests.containers.engine import engine

PROFILES = {"COMPOSE_PROFILES": "demo,monitoring"}
COUNT = 2000
# The rest are lines that an engine without a firewall says about itself.
_NOISE = ("IPv4 forwarding is disabled", " Running")


class Show:
    """Runs commands of the fleet's user, and shows them.

    Args:
        compose: how to reach the engine.
    """

    def __init__(self, compose: Compose) -> None:
        self._compose = compose

    def run(self, command: str, *, note: str = "") -> str:
        """Shows a ``docker …`` command and what it prints, and returns its stdout."""
        if note:
            print(f"\n# {note}", flush=True)
        print(f"$ {command}", flush=True)
        done = self._done(command)
        for line in [*done.stdout.splitlines(), *done.stderr.splitlines()]:
            if line.strip() and not any(noise in line for noise in _NOISE):
                print(line.rstrip(), flush=True)
        if done.returncode:
            raise AssertionError(f"{command} ended with status {done.returncode}")
        return done.stdout

    def quiet(self, command: str) -> str:
        """Runs a command without a word."""
        return self._done(command).stdout

    def _done(self, command: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        if words[:2] == ["docker", "compose"]:
            words = [COMPOSE, "--progress", "quiet", *words[2:]]
        return subprocess.run(
            words,
            check=False,
            cwd=REPOSITORY,
            env=self._compose.variables(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )


def show(show: Show, *, grafana: bool) -> str:
    """The whole story; returns the job's id."""
    scale = "" if grafana else " --scale grafana=0"
    show.run(f"docker compose up --detach --wait --scale worker=2{scale}", note="Two workers")
    show.run("docker compose ps --format 'table {{.Service}}\t{{.Name}}\t{{.Status}}\t{{.Ports}}'")

    show.run(
        "docker update --cpus 0.08 forebay-s3-1",
        note="A slow source, so that there is time to interrupt what is under way",
    )
    job = show.run(
        "docker compose run --rm -T forebay prefetch s3://photos/ --no-wait",
        note="A job of 2,000 photographs",
    ).strip()
    ended(show, job, COUNT // 5)
    show.run(
        f"docker compose up --detach --no-recreate --scale worker=4{scale}",
        note="Two workers more, meanwhile",
    )
    before = ended(show, job, COUNT // 3)
    show.run("docker kill forebay-worker-1", note="One is killed, and Redis restarted")
    show.run("docker compose restart redis")
    after = ended(show, job, before)
    print(f"# {before:,} of {COUNT:,} samples had ended before, {after:,} when Redis was back")
    if not after < COUNT:
        raise AssertionError("the job ended before it could be interrupted")

    show.run("docker update --cpus 1 forebay-s3-1")
    show.run(f"docker compose run --rm -T forebay job {job} --watch", note="The job ends all the same")
    show.run("docker compose run --rm -T forebay verify s3://photos/", note="Every file is there")
    show.run("docker compose run --rm -T forebay stats")
    show.run("docker compose ps --all --format 'table {{.Service}}\t{{.Name}}\t{{.Status}}'")
    show.run("docker stats --no-stream --format 'table {{.Name}}\t{{.MemUsage}}\t{{.PIDs}}'")
    return job


def ended(show: Show, job: str, least: int) -> int:
    """Waits until so many samples of a job have ended; returns how many that are."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        text = show.quiet(f"docker compose exec -T --index 2 worker forebay job {job} --json")
        if text:
            status = json.loads(text)
            number = int(status["total"]) - int(status["pending"])
            if number >= least:
                return number
    raise AssertionError(f"job {job} has not got that far")


def has_image(compose: Compose, image: str) -> bool:
    """Whether the engine has an image already."""
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, check=False, env=compose.variables(), capture_output=True).returncode == 0


def main() -> int:
    """Runs the show in a fleet of its own."""
    keep = "--keep" in sys.argv
    with engine() as environment, tempfile.TemporaryDirectory() as directory:
        settings = {"FIFTYONE_MEDIA_CACHE_BATCH_SIZE": "10"}
        compose = Compose(new_env(Path(directory) / "env", demo=True, **settings), environment | PROFILES)
        grafana = compose.config("monitoring")["services"]["grafana"]["image"]
        try:
            show(Show(compose), grafana=has_image(compose, grafana))
            if keep:
                print((compose.env_file).read_text())
                input("Enter ends it. ")
        finally:
            compose("down", "--volumes", "--timeout", "40")
    return 0


if __name__ == "__main__":
    sys.exit(main())
