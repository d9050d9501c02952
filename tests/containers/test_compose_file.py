"""What needs no engine: the compose file, its settings, and each container's command."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
import requests
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from forebay.config import MediaCacheConfig, env_name
from forebay.embedded import _binary
from forebay.jobs.celery_app import DRAIN_SECONDS, SOFT_SHUTDOWN_SECONDS
from forebay.metrics.catalogue import OF_VOLUME
from tests.containers.compose import REPOSITORY, Compose, new_env, values_of
from tests.servers.process import free_ports, running
from tests.servers.seaweedfs import remove_sockets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROFILES = ("demo", "monitoring", "cli")
FILE = (REPOSITORY / "compose.yaml").read_text()
EXAMPLE = (REPOSITORY / ".env.example").read_text()


@pytest.fixture
def compose(tmp_path: Path) -> Compose:
    """Compose with an ``.env`` as a new user has it."""
    return Compose(new_env(tmp_path / "env"))


@pytest.fixture
def services(compose: Compose) -> dict[str, Any]:
    """All services, of all profiles."""
    found: dict[str, Any] = compose.config(*PROFILES)["services"]
    return found


class TestTheFile:
    def test_the_example_and_new_passwords_are_all_that_it_needs(self, compose: Compose) -> None:
        assert set(compose.config()["services"]) == {"redis", "worker", "flower"}
        assert set(compose.config("demo")["services"]) == {"redis", "worker", "flower", "s3"}
        monitored = {"redis", "worker", "flower", "metrics", "prometheus", "grafana"}
        assert set(compose.config("monitoring")["services"]) == monitored

    def test_without_passwords_it_says_how_to_get_them(self, tmp_path: Path) -> None:
        without = tmp_path / "env"
        without.write_text(EXAMPLE)
        done = Compose(without)("config", check=False)
        assert done.returncode != 0
        assert "put passwords into .env with docker/secrets >> .env" in done.stderr

    def test_passwords_are_new_each_time(self, tmp_path: Path) -> None:
        one, other = (values_of(new_env(tmp_path / name, demo=True)) for name in ("one", "other"))
        secret = [name for name in one if "PASSWORD" in name or "SECRET" in name]
        assert len(secret) == 4
        assert all(re.fullmatch("[0-9a-f]{48}", one[name]) and one[name] != other[name] for name in secret)

    def test_the_first_command_keeps_them_from_others(self, tmp_path: Path) -> None:
        page = (REPOSITORY / "docs" / "compose.md").read_text()
        command = page.split("```text\n")[1].splitlines()[0].replace("docker/", f"{REPOSITORY}/docker/")
        shutil.copy(REPOSITORY / ".env.example", tmp_path)
        subprocess.run(command, check=True, cwd=tmp_path, shell=True, stderr=subprocess.DEVNULL)
        assert len(values_of(tmp_path / ".env")["REDIS_PASSWORD"]) == 48
        assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600

    def test_what_beats_the_settings_is_named(self) -> None:
        shell = {
            "PATH": os.environ["PATH"],
            "AWS_SECRET_ACCESS_KEY": "mine",
            "FIFTYONE_MEDIA_CACHE_VOLUME": "b",
        }
        script = REPOSITORY / "docker" / "secrets"
        done = subprocess.run([script], check=True, env=shell, capture_output=True, text=True)
        assert done.stderr.splitlines() == [
            f"warning: {name} is set in this shell, where docker compose takes it rather than from .env: "
            f"unset {name}"
            for name in ("AWS_SECRET_ACCESS_KEY", "FIFTYONE_MEDIA_CACHE_VOLUME")
        ]
        assert len(done.stdout.splitlines()) == 3

    def test_nothing_is_reached_from_other_machines(self, services: dict[str, Any]) -> None:
        ports = [port for service in services.values() for port in service.get("ports", [])]
        assert ports
        assert {port["host_ip"] for port in ports} == {"127.0.0.1"}

    def test_every_container_is_confined(self, services: dict[str, Any]) -> None:
        for name, service in services.items():
            assert service["read_only"], name
            assert service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
            assert int(service["mem_limit"]) > 0, name
            assert float(service["cpus"]) > 0, name
            assert service["pids_limit"] > 0, name
            assert service.get("user", "") not in ("0", "root", "0:0"), name
            assert not service.get("privileged"), name

    def test_workers_share_one_cache(self, services: dict[str, Any]) -> None:
        mounts = {mount["target"]: mount for mount in services["worker"]["volumes"]}
        assert mounts["/cache"]["source"] == "cache"
        assert mounts["/credentials"]["read_only"]

    def test_every_setting_gets_in(self, tmp_path: Path) -> None:
        """One that does not would be ignored without a word."""
        fixed = {"cache_dir", "redis_url", "broker_url", "metrics_host", "metrics_port", "flower_basic_auth"}
        given = [env_name(field) for field in MediaCacheConfig.model_fields.keys() - fixed]
        settings = dict.fromkeys((*given, "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"), "from-env")

        services = Compose(new_env(tmp_path / "env", **settings)).config(*PROFILES)["services"]

        for name in ("worker", "forebay"):
            assert settings.items() <= services[name]["environment"].items(), name

    def test_there_are_as_many_workers_as_the_settings_say(self, compose: Compose, tmp_path: Path) -> None:
        assert compose.config()["services"]["worker"]["scale"] == 1
        four = Compose(new_env(tmp_path / "four", WORKERS="4"))
        assert four.config()["services"]["worker"]["scale"] == 4

    def test_workers_have_the_time_to_end_in_good_order(self, services: dict[str, Any]) -> None:
        seconds = int(services["worker"]["stop_grace_period"].removesuffix("s"))
        assert seconds > DRAIN_SECONDS + SOFT_SHUTDOWN_SECONDS + 10

    def test_only_who_needs_them_has_the_credentials(self, tmp_path: Path) -> None:
        compose = Compose(new_env(tmp_path / "env", demo=True))
        services = compose.config(*PROFILES)["services"]
        secret = values_of(compose.env_file)["AWS_SECRET_ACCESS_KEY"]
        assert {n for n, s in services.items() if secret in json.dumps(s)} == {"worker", "forebay", "s3"}

    def test_no_password_is_an_argument(self, compose: Compose, services: dict[str, Any]) -> None:
        secrets = [value for name, value in values_of(compose.env_file).items() if "PASSWORD" in name]
        for name, service in services.items():
            command = json.dumps([service["command"], service["entrypoint"], service.get("healthcheck")])
            assert not [secret for secret in secrets if secret in command], name


class TestTheExample:
    def test_it_names_variables_of_the_file_and_no_other(self) -> None:
        filled_in = set(re.findall(r"(?<!\$)\$\{(\w+)", FILE))
        passed_on = set(re.findall(r"^  ([A-Z]\w+):$", FILE, re.M))
        named = set(re.findall(r"^(?:# )?([A-Z]\w+)=", EXAMPLE, re.M)) - {"COMPOSE_PROFILES"}
        assert filled_in <= named <= filled_in | passed_on

    def test_its_settings_exist(self) -> None:
        known = {env_name(field) for field in MediaCacheConfig.model_fields}
        assert set(re.findall(r"FIFTYONE_MEDIA_CACHE_\w+", FILE + EXAMPLE)) <= known

    def test_its_defaults_are_those_of_the_file(self) -> None:
        shown = dict(re.findall(r"^# (\w+)=(.+)$", EXAMPLE, re.M))
        defaults = dict(re.findall(r"\$\{(\w+):-([^}]+)\}", FILE))
        del defaults["CACHE_DIR"], defaults["CREDENTIALS_DIR"]  # volumes of the engine's
        assert {name: shown[name] for name in defaults} == defaults


class TestTheImages:
    def test_everything_that_is_copied_is_there_and_goes_to_the_builder(self) -> None:
        dockerfile = (REPOSITORY / "docker" / "Dockerfile").read_text()
        lines = (REPOSITORY / "docker" / "Dockerfile.dockerignore").read_text().splitlines()
        sent = [line.removeprefix("!") for line in lines if line.startswith("!")]
        for sources in re.findall(r"^COPY (?!--)(.*) \S+$", dockerfile, re.M):
            for source in sources.split():
                assert (REPOSITORY / source).exists(), source
                assert any(source == one or source.startswith(f"{one}/") for one in sent), source

    def test_they_hold_what_the_project_needs(self) -> None:
        script = REPOSITORY / "docker" / "requirements"
        command = [sys.executable, str(script), str(REPOSITORY / "pyproject.toml"), "gcs", "flower"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"]
        assert printed == [*project["dependencies"], *extras["gcs"], *extras["flower"]]


class TestTheCommands:
    """Each container's command, in this virtual environment instead of its image."""

    @pytest.fixture
    def started_redis(self, services: dict[str, Any], tmp_path: Path) -> Iterator[tuple[int, str]]:
        """The Redis of the file: its port and its password."""
        bin_directory, data = tmp_path / "bin", tmp_path / "data"
        bin_directory.mkdir()
        data.mkdir()
        (bin_directory / "valkey-server").symlink_to(_binary.find())
        [port] = free_ports()
        service = services["redis"]
        environment = service["environment"] | {"PATH": f"{bin_directory}:{os.environ['PATH']}"}
        command = [word.replace("$$", "$").replace("/tmp/", f"{tmp_path}/") for word in service["command"]]
        command += ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(data)]
        password = environment["REDIS_PASSWORD"]

        def ready() -> bool:
            with contextlib.suppress(redis.ConnectionError):
                return bool(redis.Redis(port=port, password=password).ping())
            return False

        with running(command, log=tmp_path / "redis.log", ready=ready, environment=environment):
            yield port, password

    def settings(
        self, service: dict[str, Any], started_redis: tuple[int, str], tmp_path: Path
    ) -> dict[str, str]:
        """A service's environment, but for where Redis and the volume are."""
        given = {name: value for name, value in service["environment"].items() if value is not None}
        url = given["FIFTYONE_MEDIA_CACHE_REDIS_URL"].replace("redis:6379", f"127.0.0.1:{started_redis[0]}")
        given["FIFTYONE_MEDIA_CACHE_REDIS_URL"] = url
        # Another container has that port to itself; here it may be taken.
        given.pop("FIFTYONE_MEDIA_CACHE_METRICS_PORT", None)
        return given | {"FIFTYONE_MEDIA_CACHE_DIR": str(tmp_path / "cache")}

    def command(self, service: dict[str, Any]) -> list[str]:
        assert service["entrypoint"] is None
        return [str(Path(sys.executable).with_name("forebay")), *service["command"]]

    def test_redis_keeps_everything_and_asks_for_the_password(self, started_redis: tuple[int, str]) -> None:
        port, password = started_redis
        client = redis.Redis(port=port, password=password, decode_responses=True)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory") == {"maxmemory": str(768 << 20)}
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=port).ping()

    def test_a_worker_and_its_health(
        self, services: dict[str, Any], started_redis: tuple[int, str], tmp_path: Path
    ) -> None:
        service = services["worker"]
        environment = self.settings(service, started_redis, tmp_path)
        kind, program, *arguments = service["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")

        def health() -> int:
            command = [sys.executable, *arguments]
            return subprocess.run(
                command, check=False, env={**os.environ, **environment}, capture_output=True
            ).returncode

        assert health() == 1
        with running(
            self.command(service),
            log=tmp_path / "worker.log",
            ready=lambda: health() == 0,
            environment=environment,
            timeout=60,
        ) as process:
            # As the engine stops it: in good order.
            process.terminate()
            assert process.wait(30) == 0
        assert health() == 1

    def test_flower(self, services: dict[str, Any], started_redis: tuple[int, str], tmp_path: Path) -> None:
        service = services["flower"]
        environment = self.settings(service, started_redis, tmp_path)
        [port] = free_ports()
        check = service["healthcheck"]["test"][-1].replace(":5555/", f":{port}/")
        login = tuple(environment["FIFTYONE_MEDIA_CACHE_FLOWER_BASIC_AUTH"].split(":"))

        def ready() -> bool:
            return (
                subprocess.run([sys.executable, "-c", check], check=False, capture_output=True).returncode
                == 0
            )

        command = [*self.command(service), "--port", str(port)]
        with running(command, log=tmp_path / "flower.log", ready=ready, environment=environment, timeout=60):
            assert requests.get(f"http://127.0.0.1:{port}/tasks", timeout=30).status_code == 401
            assert requests.get(f"http://127.0.0.1:{port}/tasks", auth=login, timeout=30).ok

    def test_metrics_need_redis_only(
        self, services: dict[str, Any], started_redis: tuple[int, str], tmp_path: Path
    ) -> None:
        service = services["metrics"]
        environment = self.settings(service, started_redis, tmp_path)
        del environment["FIFTYONE_MEDIA_CACHE_DIR"]
        [port] = free_ports()
        command = [word.replace("9464", str(port)) for word in self.command(service)]

        def ready() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).ok
            return False

        with running(command, log=tmp_path / "log", ready=ready, environment=environment, timeout=60):
            pass

    def test_the_demo_serves_to_who_has_the_key_pair_and_to_nobody_else(self, tmp_path: Path) -> None:
        # Given the demo's command on free ports, with the keys that `docker/secrets --demo` makes
        made = values_of(new_env(tmp_path / "env", demo=True))
        keys = {name: made[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        names = [
            f"{part}.port{kind}" for part in ("s3", "master", "filer", "volume") for kind in ("", ".grpc")
        ]
        ports = dict(zip((*names, "admin.port"), free_ports(9, below=22768), strict=True))
        # The last of two flags counts.
        flags = [*(f"-{name}={port}" for name, port in ports.items()), "-ip.bind=127.0.0.1"]
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        bin_directory = Path(sys.executable).parent
        environment = keys | {
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "DEMO_DATA": str(tmp_path / "photos"),
        }

        def s3(secret: str) -> Any:
            return boto3.client(
                "s3",
                endpoint_url=endpoint,
                aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=secret,
                region_name="us-east-1",
            )

        def ready() -> bool:
            with contextlib.suppress(BotoCoreError, ClientError):
                s3(keys["AWS_SECRET_ACCESS_KEY"]).list_buckets()
                return True
            return False

        # When it runs
        command = [str(REPOSITORY / "docker" / "demo" / "serve"), *flags]
        log = tmp_path / "log"
        try:
            with running(command, log=log, ready=ready, environment=environment):
                # Then the key pair makes a bucket, and another secret does not see it
                s3(keys["AWS_SECRET_ACCESS_KEY"]).create_bucket(Bucket="photos")
                [bucket] = s3(keys["AWS_SECRET_ACCESS_KEY"]).list_buckets()["Buckets"]
                assert bucket["Name"] == "photos"
                with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
                    s3("another").list_buckets()
        finally:
            remove_sockets(set(ports.values()))
        assert (tmp_path / "photos").is_dir()

    def test_the_demo_serves_nothing_without_a_key_pair(self) -> None:
        done = subprocess.run(
            [REPOSITORY / "docker" / "demo" / "serve"], check=False, env={}, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (
            2,
            "the demo's S3 server has no key pair: docker/secrets --demo >> .env\n",
        )


class TestTheMonitoring:
    DASHBOARD = json.loads((REPOSITORY / "docker" / "grafana" / "forebay.json").read_text())

    ALERTS = (REPOSITORY / "docker" / "prometheus" / "alerts.yml").read_text()

    def test_the_dashboard_shows_metrics_that_exist_by_labels_that_they_have(self) -> None:
        for panel in self.DASHBOARD["panels"]:
            for target in panel["targets"]:
                labels = labels_of_all(target["expr"])
                assert labels_in(target["expr"], target["legendFormat"]) <= labels, panel["title"]

    def test_alerts_are_about_metrics_that_exist_and_are_those_of_the_documentation(self) -> None:
        for rule in yaml.safe_load(self.ALERTS)["groups"][0]["rules"]:
            assert labels_in(rule["expr"], "") <= labels_of_all(rule["expr"]) | {"state"}, rule["alert"]
        assert self.ALERTS in (REPOSITORY / "docs" / "operating.md").read_text()

    def test_prometheus_reads_the_alerts(self, services: dict[str, Any]) -> None:
        settings = yaml.safe_load((REPOSITORY / "docker" / "prometheus" / "prometheus.yml").read_text())
        [name] = settings["rule_files"]
        targets = [mount["target"] for mount in services["prometheus"]["volumes"]]
        assert f"/etc/prometheus/{name}" in targets

    def test_its_data_source_is_the_one_that_is_provisioned(self) -> None:
        [source] = yaml.safe_load((REPOSITORY / "docker" / "grafana" / "datasource.yaml").read_text())[
            "datasources"
        ]
        assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
        assert {panel["datasource"]["uid"] for panel in self.DASHBOARD["panels"]} == {"${datasource}"}

    def test_prometheus_asks_those_that_know(self, services: dict[str, Any]) -> None:
        settings = yaml.safe_load((REPOSITORY / "docker" / "prometheus" / "prometheus.yml").read_text())
        jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
        [target] = jobs["forebay"]["static_configs"][0]["targets"]
        host, _, port = target.partition(":")
        assert services[host]["command"][-1] == f"0.0.0.0:{port}"
        [discovery] = jobs["workers"]["dns_sd_configs"]
        [host] = discovery["names"]
        environment = services[host]["environment"]
        assert environment["FIFTYONE_MEDIA_CACHE_METRICS_PORT"] == str(discovery["port"])


def labels_of_all(expression: str) -> set[str]:
    """The labels that all metrics of an expression have."""
    known = {"process_resident_memory_bytes": {"job", "instance", "worker"}}
    for metric in OF_VOLUME:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        known |= {f"{metric.shown}{suffix}": {"volume", "le", *metric.labels} for suffix in suffixes}
    names = set(re.findall(r"\b(?:forebay|process)_\w+", expression))
    assert names, expression
    assert names <= known.keys(), expression
    return set.intersection(*(known[name] for name in names))


def labels_in(expression: str, legend: str) -> set[str]:
    """The labels that a panel groups by, selects by, or shows."""
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    labels = {label.strip() for group in grouped for label in group.split(",")}
    return labels | set(re.findall(r"[{,](\w+)=", expression)) | set(re.findall(r"\{\{(\w+)\}\}", legend))
