"""A volume has one index, and an index's volume one directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.errors import IndexUnavailableError, VolumeError
from tests.caches import MakeCache
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey
from tests.servers.workers import settings_environment


def test_a_directory_with_another_redis_is_refused(
    make_cache: MakeCache, valkey: Valkey, tmp_path: Path
) -> None:
    cache = make_cache()
    cache.stats()

    with running_valkey(tmp_path / "other") as other, pytest.raises(VolumeError) as caught:
        make_cache(redis_url=other.url).stats()

    directory = cache.config.cache_dir
    assert str(caught.value) == (
        f"the volume {directory} belongs to the Redis {valkey.url}, and a volume has one index: to share it, "
        "set FIFTYONE_MEDIA_CACHE_REDIS_URL to that Redis on every host. To hand it over to another index, "
        f"stop every program that uses it and delete {directory}/.forebay/volume.json"
    )


def test_a_directory_of_a_redis_is_refused_without_it(make_cache: MakeCache, valkey: Valkey) -> None:
    make_cache().stats()

    with pytest.raises(VolumeError, match=rf"belongs to the Redis {valkey.url}"):
        make_cache(redis_url=None).stats()


def test_another_directory_needs_another_volume_name(make_cache: MakeCache, tmp_path: Path) -> None:
    make_cache().stats()
    elsewhere = str(tmp_path / "elsewhere")

    with pytest.raises(VolumeError, match="set FIFTYONE_MEDIA_CACHE_VOLUME to a name of its own"):
        make_cache(cache_dir=elsewhere).stats()

    assert make_cache(cache_dir=elsewhere, volume="node-b").stats()["current_count"] == 0


def test_a_redis_that_may_drop_keys_is_refused(make_cache: MakeCache, tmp_path: Path) -> None:
    with running_valkey(tmp_path / "lossy", policy="allkeys-lru") as lossy:
        cache = make_cache(redis_url=lossy.url)

        with pytest.raises(IndexUnavailableError, match=r"maxmemory-policy 'allkeys-lru'.*'noeviction'"):
            cache.stats()

        # A worker says so and stops.
        command = [sys.executable, "-m", "celery", "-A", "forebay_worker.app", "worker"]
        ended = subprocess.run(
            command,
            env={**os.environ, **settings_environment(cache)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode != 0
    assert "set it to 'noeviction'" in ended.stdout + ended.stderr
