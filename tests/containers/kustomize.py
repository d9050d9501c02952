"""Renders the overlays of ``docker/kubernetes`` as ``kubectl apply --kustomize`` does."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.containers.compose import REPOSITORY

DIRECTORY = REPOSITORY / "docker" / "kubernetes"
OVERLAYS = sorted(path.name for path in (DIRECTORY / "overlays").iterdir())
JOBS = sorted((DIRECTORY / "jobs").glob("*.yaml"))
# The first whose Kustomize may change the kind of a resource.
_OLDEST = 22

Resources = dict[str, dict[str, Any]]


def missing() -> str:
    """Why nothing can be rendered here; empty where it can be."""
    if shutil.which("kubectl") is None:
        return "there is no kubectl (on Debian: apt-get install kubernetes-client)"
    command = ["kubectl", "version", "--client", "--output", "json"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    version = json.loads(told)["clientVersion"]
    if int(version["minor"].rstrip("+")) < _OLDEST:
        return f"kubectl is {version['gitVersion']}; the overlays need 1.{_OLDEST} or newer"
    return ""


@functools.cache
def rendered(overlay: str) -> Resources:
    """The resources of an overlay, by kind and name."""
    command = ["kubectl", "kustomize", str(DIRECTORY / "overlays" / overlay)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # What is deprecated is said there.
    assert not done.stderr, done.stderr
    return _by_name(done.stdout)


def read(file: Path) -> Resources:
    """The resources of a manifest that is applied as it is."""
    return _by_name(file.read_text())


def _by_name(text: str) -> Resources:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in yaml.safe_load_all(text)}
