"""The manifests for Kubernetes: they are valid, fit each other, and their commands do what they say."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig, env_name
from forebay.config.sizes import parse_duration
from forebay.jobs.celery_app import DRAIN_SECONDS, SOFT_SHUTDOWN_SECONDS
from tests.containers import kustomize
from tests.servers.process import running
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey

if reason := kustomize.missing():
    pytest.skip(reason, allow_module_level=True)

# Every resource, by the overlay or file that it comes from.
RESOURCES: dict[str, dict[str, Any]] = {
    f"{place}: {name}": one
    for place, resources in [
        *((overlay, kustomize.rendered(overlay)) for overlay in kustomize.OVERLAYS),
        *((file.name, kustomize.read(file)) for file in kustomize.JOBS),
    ]
    for name, one in resources.items()
}
PODS: dict[str, dict[str, Any]] = {
    name: one["spec"]["template"]["spec"]
    for name, one in RESOURCES.items()
    if "template" in one.get("spec", {})
}
WORKER = PODS["node-cache: DaemonSet/forebay-worker"]
SHARED = PODS["nfs: Deployment/forebay-worker"]
SPOT = PODS["spot: DaemonSet/forebay-worker"]
JOB = PODS["training-job.yaml: Job/train"]
PREFETCH = PODS["prefetch-job.yaml: Job/prefetch"]
SETTINGS: dict[str, str] = RESOURCES["node-cache: ConfigMap/forebay"]["data"]
NODE = "gpu-node-1.example.internal"
# The oldest that is still maintained by a cloud, and the newest whose schemas there are.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
# As the clouds promise at least, of a node that they take back.
SPOT_SECONDS = 30


def containers_of(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from [*pod.get("initContainers", []), *pod["containers"]]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for place, pod in PODS.items():
        for one in containers_of(pod):
            yield f"{place}: {one['name']}", one


def container(name: str) -> dict[str, Any]:
    """One of node-cache, or of the training job."""
    return next(one for pod in (WORKER, JOB) for one in containers_of(pod) if one["name"] == name)


def volume_of(pod: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = (one for one in pod["volumes"] if one["name"] == name)
    return {key: value for key, value in found.items() if key != "name"}


class TestTheManifests:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("name", RESOURCES)
    def test_kubernetes_takes_them(self, name: str, version: str) -> None:
        kubernetes_validate.validate(RESOURCES[name], version, strict=True)

    @pytest.mark.parametrize("name", PODS)
    def test_the_validation_would_see_a_mistake(self, name: str) -> None:
        wrong = copy.deepcopy(RESOURCES[name])
        wrong["spec"]["template"]["spec"]["initContainer"] = []
        with pytest.raises(kubernetes_validate.ValidationError, match="initContainer"):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)

    def test_every_setting_is_one_of_forebay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = {env_name(name) for name in MediaCacheConfig.model_fields}
        given = {one["name"] for _, c in containers() for one in c.get("env", [])}
        for one in RESOURCES.values():
            if one["kind"] == "ConfigMap":
                given |= set(one["data"])
                with monkeypatch.context() as environment:
                    for name, value in one["data"].items():
                        environment.setenv(name, value)
                    # Raises an error for a value that is not allowed.
                    MediaCacheConfig()
        assert given <= known

    def test_the_job_uses_the_volume_of_the_worker_on_its_node(self) -> None:
        for name in ("prefetch", "train"):
            for part in ("envFrom", "env"):
                assert all(one in container("worker")[part] for one in container(name)[part])
            assert {"name": "cache", "mountPath": SETTINGS[env_name("cache_dir")]} in container(name)[
                "volumeMounts"
            ]
        paths = [volume_of(pod, "cache")["hostPath"]["path"] for pod in (WORKER, JOB, SPOT)]
        assert len(set(paths)) == 1
        assert JOB["nodeSelector"] == WORKER["nodeSelector"]
        assert JOB["securityContext"]["runAsUser"] == container("worker")["securityContext"]["runAsUser"]

    def test_the_lease_lasts_as_long_as_the_job_may(self) -> None:
        arguments = container("prefetch")["args"]
        lease = parse_duration(arguments[arguments.index("--lease") + 1])
        assert lease >= RESOURCES["training-job.yaml: Job/train"]["spec"]["activeDeadlineSeconds"]

    @pytest.mark.parametrize("pod", [WORKER, SHARED, SPOT])
    def test_a_worker_has_the_time_to_end_in_good_order(self, pod: dict[str, Any]) -> None:
        assert pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS + SOFT_SHUTDOWN_SECONDS

    def test_spot_is_node_cache_on_nodes_that_the_cloud_takes_back(self) -> None:
        assert SPOT["terminationGracePeriodSeconds"] < SPOT_SECONDS
        assert [one for one in SPOT["tolerations"] if one in WORKER["tolerations"]] == WORKER["tolerations"]
        keys = {one["key"] for one in SPOT["tolerations"]}
        assert keys > {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
        changed = ("terminationGracePeriodSeconds", "tolerations")
        assert {k: v for k, v in SPOT.items() if k not in changed} == {
            k: v for k, v in WORKER.items() if k not in changed
        }

    def test_all_workers_of_nfs_have_one_volume_and_the_prefetch_has_it_too(self) -> None:
        claim = RESOURCES["nfs: PersistentVolumeClaim/forebay-cache"]
        assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
        for pod in (SHARED, PREFETCH):
            assert volume_of(pod, "cache") == {
                "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}
            }
        settings = RESOURCES["nfs: ConfigMap/forebay"]["data"]
        assert settings[env_name("volume")] == "shared"
        room = int(settings[env_name("cache_size_bytes")]) + int(settings[env_name("min_free_bytes")])
        asked = claim["spec"]["resources"]["requests"]["storage"]
        assert int(asked.removesuffix("Gi")) << 30 >= room
        # No variable of the container hides the name that they share.
        for pod in (SHARED, PREFETCH):
            assert env_name("volume") not in [one["name"] for one in pod["containers"][0]["env"]]

    def test_nodes_are_drained_one_worker_at_a_time(self) -> None:
        budget = RESOURCES["nfs: PodDisruptionBudget/forebay-worker"]["spec"]
        deployment = RESOURCES["nfs: Deployment/forebay-worker"]["spec"]
        assert budget["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
        assert budget["maxUnavailable"] < deployment["replicas"]

    @pytest.mark.parametrize("pod", [WORKER, SHARED, SPOT])
    def test_a_worker_is_alive_while_it_makes_progress(self, pod: dict[str, Any]) -> None:
        [worker] = pod["containers"]
        for probe in ("livenessProbe", "startupProbe"):
            assert worker[probe]["exec"]["command"] == ["python", "-m", "forebay_worker.health"]

    @pytest.mark.parametrize(
        ("name", "found"), [(name, one) for name, one in containers() if "command" not in one]
    )
    def test_every_command_of_forebay_has_these_options(self, name: str, found: dict[str, Any]) -> None:
        assert found["image"].startswith("forebay:")
        done = subprocess.run(
            [sys.executable, "-m", "forebay", *found["args"], "--help"],
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        usage = done.stdout
        for option in (word for word in found["args"] if word.startswith("--")):
            assert f" {option} " in usage

    @pytest.mark.parametrize(("name", "found"), list(containers()))
    def test_every_container_is_confined(self, name: str, found: dict[str, Any]) -> None:
        assert found["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert found["securityContext"]["readOnlyRootFilesystem"]
        assert not found["securityContext"]["allowPrivilegeEscalation"]
        assert "memory" in found["resources"]["limits"]


class TestTheCommands:
    """Each container's command in a plain virtual environment, with the variables of its manifest."""

    @pytest.fixture
    def redis(self, tmp_path: Path) -> Iterator[Valkey]:
        with running_valkey(tmp_path / "valkey") as server:
            yield server

    @pytest.fixture
    def node(
        self, redis: Valkey, s3_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        """The disk of a node: what the containers have as /cache and /manifest."""
        for name in ("cache", "manifest"):
            (tmp_path / name).mkdir()
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value.replace("/cache", str(tmp_path / "cache")))
        # A machine that runs tests has a smaller disk, and more on it.
        monkeypatch.setenv(env_name("min_free_bytes"), "0")
        given = {"spec.nodeName": NODE, "redis-url": redis.url}
        for one in container("prefetch")["env"]:
            [source] = one["valueFrom"].values()
            monkeypatch.setenv(one["name"], given[source.get("fieldPath") or source["key"]])
        return tmp_path

    @pytest.fixture
    def worker(self, node: Path) -> Iterator[MediaCache]:
        """The DaemonSet's container; gives the volume that it works for."""
        cache = MediaCache(MediaCacheConfig())
        command = [sys.executable, "-m", "forebay", *container("worker")["args"]]
        with running(
            command,
            log=node / "worker.log",
            ready=lambda: any(one.alive for one in cache.engine.open_index().workers.all()),
            timeout=60,
        ):
            yield cache
        cache.close()

    def run(self, node: Path, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *(word.replace("/manifest/", f"{node}/manifest/") for word in command)],
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def test_the_init_container_fetches_through_the_worker_of_its_node(
        self, node: Path, worker: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        # Given a worker whose probe passes, and a manifest
        _, *probe = container("worker")["livenessProbe"]["exec"]["command"]
        assert self.run(node, *probe[1:]).returncode == 0
        uris = s3_server.put_many(s3_bucket, {f"{i:02}.jpg": b"x" * 1000 for i in range(20)})
        (node / "manifest" / "manifest.txt").write_text("".join(f"{uri}\n" for uri in uris))

        # When the job's pod is started
        done = self.run(node, "forebay", *container("prefetch")["args"])

        # Then the worker has fetched everything, and it is kept for the job
        assert done.returncode == 0, done.stderr
        assert "20 samples, 20 to fetch through the fleet" in done.stderr
        assert worker.config.volume == NODE
        assert worker.stats()["current_count"] == 20
        [lease] = worker.leases()
        assert (lease.entries, lease.seconds_left > 23 * 3600) == (20, True)

    def test_the_init_container_fails_and_says_why_where_something_is_missing(
        self, node: Path, worker: MediaCache, s3_bucket: str
    ) -> None:
        (node / "manifest" / "manifest.txt").write_text(f"s3://{s3_bucket}/missing.jpg\n")
        done = self.run(node, "forebay", *container("prefetch")["args"])
        assert done.returncode == 1
        assert f"failed: s3://{s3_bucket}/missing.jpg: " in done.stderr
