"""NVIDIA's multi-storage-client: everything below a prefix, as its command does it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from bench.tools.task import Command, Task, Tool


def _binary() -> str | None:
    return shutil.which("msc", path=str(Path(sys.executable).parent)) or shutil.which("msc")


def _missing() -> str | None:
    return None if _binary() else "its command msc is not installed: pip install multi-storage-client"


def _sync(task: Task, destination: Path) -> Command:
    options = {"base_path": task.corpus.bucket, "endpoint_url": task.endpoint.url, "region_name": "us-east-1"}
    profile = {"storage_provider": {"type": "s3", "options": options}}
    configuration = task.scratch / "msc.json"
    # YAML is a superset of JSON, and its command takes both.
    configuration.write_text(json.dumps({"profiles": {"bench": profile}}))
    environment = {**task.environment, "MSC_CONFIG": str(configuration), "HOME": str(task.scratch)}
    words = [_binary() or "msc", "sync", "msc://bench/", "--target-url", str(destination)]
    return Command(words, {**environment, "TMPDIR": os.environ.get("TMPDIR", str(task.scratch))})


sync = Tool("multi-storage-client, msc sync", _sync, missing=_missing)
