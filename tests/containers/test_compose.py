"""The fleet on a real engine: built, brought up, disturbed, watched and stopped. `make test-containers`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.containers import show
from tests.containers.compose import REPOSITORY, Compose, new_env, values_of
from tests.containers.engine import NoEngineError, engine
from tests.servers.embedded import eventually

pytestmark = pytest.mark.timeout(2400)

OFFLINE = {"COMPOSE_FILE": "compose.yaml:docker/offline.yaml"}


@dataclass
class Fleet:
    """A fleet that has been through the show.

    Attributes:
        told: what the show printed.
    """

    compose: Compose
    told: str

    def docker(self, *arguments: str) -> str:
        command = ["docker", *arguments]
        variables = self.compose.variables()
        return subprocess.run(command, check=True, env=variables, capture_output=True, text=True).stdout

    def inspect(self, name: str) -> dict[str, Any]:
        [found] = json.loads(self.docker("inspect", name))
        return dict(found)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet after the show, with two workers of its four left as they were."""
    if "FOREBAY_TEST_CONTAINERS" not in os.environ:
        pytest.skip("images take minutes to build: `make test-containers` runs these tests")
    with contextlib.ExitStack() as stack:
        try:
            environment = stack.enter_context(engine())
        except NoEngineError as error:
            pytest.skip(f"no container engine: {error}")
        env_file = new_env(tmp_path_factory.mktemp("compose") / "env", demo=True, **show.SETTINGS)
        compose = Compose(env_file, environment | show.PROFILES)
        if not reaches_registry(compose):
            subprocess.run(
                [REPOSITORY / "docker" / "offline-images"], check=True, env=compose.variables(), timeout=900
            )
            compose.environment |= OFFLINE
        compose("build", "worker", "s3", timeout=1800)
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told):
                show.show(show.Show(compose))
            yield Fleet(compose, told.getvalue())
        finally:
            compose("down", "--volumes", "--timeout", "40")


def reaches_registry(compose: Compose) -> bool:
    """Whether the engine can pull images."""
    done = compose("pull", "--quiet", "redis", check=False)
    return done.returncode == 0


def test_the_job_survived_a_killed_worker_and_a_restart_of_redis(fleet: Fleet) -> None:
    assert "2,000 of 2,000 samples cached" in fleet.told
    assert "2,000 objects: 2,000 cached" in fleet.told


def test_what_failed_is_told_in_flower(fleet: Fleet) -> None:
    login = ("forebay", values_of(fleet.compose.env_file)["FLOWER_PASSWORD"])
    answer = requests.get("http://127.0.0.1:5555/api/tasks?state=FAILURE", auth=login, timeout=30)
    [task] = answer.json().values()
    assert task["args"] == "s3://photos/nowhere.jpg"
    assert "s3://photos/nowhere.jpg: no such object" in task["exception"]


def test_no_secret_is_in_a_log(fleet: Fleet) -> None:
    logs = fleet.compose("logs", "--no-color").stdout
    values = values_of(fleet.compose.env_file)
    secrets = {name: value for name, value in values.items() if "PASSWORD" in name or "SECRET" in name}
    assert len(secrets) == 4
    assert [name for name, value in secrets.items() if value in logs] == []


def test_the_images_are_small(fleet: Fleet) -> None:
    services = fleet.compose.config("demo")["services"]
    size = {name: int(fleet.inspect(services[name]["image"])["Size"]) for name in ("worker", "s3")}
    assert size["worker"] < 350e6
    assert size["s3"] < 500e6, "photographs, and a server of 160 MB"


def test_containers_are_confined(fleet: Fleet) -> None:
    worker = fleet.inspect("forebay-worker-2")
    assert worker["HostConfig"]["ReadonlyRootfs"]
    assert worker["Config"]["User"] == "1000:1000"
    assert worker["HostConfig"]["Memory"] == 1 << 30
    assert fleet.docker("exec", "forebay-worker-2", "id", "-u").strip() == "1000"
    assert fleet.docker("exec", "forebay-redis-1", "id", "-u").strip() != "0"
    for name in fleet.docker("ps", "--format", "{{.Names}}").split():
        ports = fleet.inspect(name)["NetworkSettings"]["Ports"] or {}
        assert {one["HostIp"] for bound in ports.values() if bound for one in bound} <= {"127.0.0.1"}


def test_prometheus_reaches_everything_and_answers_every_query_of_the_dashboard(fleet: Fleet) -> None:
    # Given Prometheus, which has found the metrics and each worker that is left
    def targets() -> list[dict[str, Any]]:
        answer = requests.get("http://127.0.0.1:9090/api/v1/targets?state=active", timeout=30).json()
        return [one for one in answer["data"]["activeTargets"] if one["health"] == "up"]

    eventually(lambda: len([one for one in targets() if one["labels"]["job"] == "workers"]) == 3, 60)
    assert [one["labels"]["job"] for one in targets()].count("forebay") == 1

    # When the dashboard's queries are sent
    query = runpy.run_path(str(REPOSITORY / "scripts" / "screenshots"))["query"]
    dashboard = json.loads((REPOSITORY / "docker" / "grafana" / "forebay.json").read_text())

    def unanswered() -> set[str]:
        url = "http://127.0.0.1:9090"
        return {p["title"] for p in dashboard["panels"] if not any(query(url, one) for one in p["targets"])}

    # Then each has an answer; what did not happen in the show has none
    eventually(lambda: unanswered() <= {"Evicted", "How long evicted files had not been used"}, 60)


def test_the_pictures_of_the_documentation_can_be_taken(fleet: Fleet, tmp_path: Path) -> None:
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no /usr/bin/chromium; on Debian: apt-get install chromium")
    login = {"FLOWER_LOGIN": f"forebay:{values_of(fleet.compose.env_file)['FLOWER_PASSWORD']}"}
    script = str(REPOSITORY / "scripts" / "screenshots")
    subprocess.run(
        [sys.executable, script, str(tmp_path)],
        check=True,
        env={**os.environ, **login},
        timeout=180,
    )
    names = {"flower-tasks", "flower-failed-task", "flower-workers", "dashboard"}
    assert {file.stem for file in tmp_path.glob("*.png")} == names


def test_a_worker_ends_in_good_order(fleet: Fleet) -> None:
    fleet.docker("stop", "--time", "40", "forebay-worker-3")
    assert fleet.inspect("forebay-worker-3")["State"]["ExitCode"] == 0


def test_the_check_of_a_container_without_a_working_worker_fails(fleet: Fleet) -> None:
    check = fleet.inspect("forebay-worker-2")["Config"]["Healthcheck"]["Test"][1:]
    assert "messages wait" in fleet.docker("exec", "forebay-worker-2", *check)

    done = fleet.compose("run", "--rm", "-T", "--entrypoint", check[0], "forebay", *check[1:], check=False)

    assert done.returncode == 1
    assert done.stdout == "no worker of this machine has registered\n"
