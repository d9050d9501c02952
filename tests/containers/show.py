"""The fleet of ``compose.yaml`` at work on an engine: ``python -m tests.containers.show``.

Prints what it runs and what that prints. Needs the images: ``docker compose --profile demo build``.
Raises where something is not as it should be. With ``--offline`` it does without Grafana; with
``--pictures DIRECTORY`` it takes screenshots, too.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.containers.compose import COMPOSE, REPOSITORY, Compose, new_env, values_of
from tests.containers.engine import engine

PROFILES = {"COMPOSE_PROFILES": "demo,monitoring"}
SETTINGS = {"FIFTYONE_MEDIA_CACHE_MESSAGE_SIZE": "10", "FIFTYONE_MEDIA_CACHE_SIZE_BYTES": "150000000"}
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

    def run(self, command: str, *, note: str = "", status: int = 0) -> str:
        """Shows a ``docker …`` command and what it prints, and returns that.

        Args:
            note: what it is for.
            status: what it must end with.
        """
        if note:
            print(f"\n# {note}", flush=True)
        print(f"$ {command}", flush=True)
        done = self._done(command, subprocess.STDOUT)
        for line in done.stdout.splitlines():
            if line.strip() and not any(noise in line for noise in _NOISE):
                print(line.rstrip(), flush=True)
        if done.returncode != status:
            raise AssertionError(f"{command} ended with status {done.returncode}")
        return done.stdout

    def quiet(self, command: str) -> str:
        """Runs a command without a word."""
        return self._done(command, subprocess.DEVNULL).stdout

    def _done(self, command: str, errors: int) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command)
        if words[:2] == ["docker", "compose"]:
            words = [COMPOSE, "--progress", "quiet", *words[2:]]
        return subprocess.run(
            words,
            check=False,
            cwd=REPOSITORY,
            env=self._compose.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=600,
        )


def show(show: Show) -> str:
    """The whole story; returns the job's id."""
    show.run(
        "docker image ls --filter 'reference=forebay*' --filter reference=python"
        " --format 'table {{.Repository}}\t{{.Tag}}\t{{.Size}}'",
        note="The images, and what they are built on",
    )
    show.run("docker compose up --detach --wait --scale worker=2", note="Two workers")
    show.run("docker compose ps --format 'table {{.Service}}\t{{.Name}}\t{{.Status}}\t{{.Ports}}'")

    show.run(
        "docker update --cpus 0.08 forebay-s3-1",
        note="A slow source, so that there is time to interrupt what is under way",
    )
    told = show.run(
        "docker compose run --rm -T forebay prefetch s3://photos/ --no-wait",
        note="A job of 2,000 photographs",
    )
    job = re.findall(r"^job (\w+):", told, re.MULTILINE)[0]
    ended(show, job, COUNT // 5)
    show.run(
        "docker compose up --detach --no-recreate --scale worker=4",
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
    show.run(
        "docker compose run --rm -T forebay prefetch s3://photos/chelsea/0000.jpg s3://photos/nowhere.jpg",
        note="What fails says why, here and in Flower",
        status=1,
    )
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


def main() -> int:
    """Runs the show in a fleet of its own."""
    pictures = sys.argv[sys.argv.index("--pictures") + 1] if "--pictures" in sys.argv else None
    with engine() as environment, tempfile.TemporaryDirectory() as directory:
        compose = Compose(new_env(Path(directory) / "env", demo=True, **SETTINGS), environment | PROFILES)
        if "--offline" in sys.argv:
            compose.environment["COMPOSE_FILE"] = "compose.yaml:docker/offline.yaml"
        try:
            show(Show(compose))
            if pictures is not None:
                values = values_of(compose.env_file)
                login = {"FLOWER_LOGIN": f"forebay:{values['FLOWER_PASSWORD']}"}
                command = [sys.executable, str(REPOSITORY / "scripts" / "screenshots"), pictures]
                subprocess.run(command, check=True, env={**os.environ, **login})
        finally:
            compose("down", "--volumes", "--timeout", "40")
    return 0


if __name__ == "__main__":
    sys.exit(main())
