"""A volume has one index, and an index's volume one directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.embedded import owner_path
from forebay.errors import IndexUnavailableError, VolumeError
from forebay.index.connection import Connection
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.servers.http_server import HTTPServer
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


@pytest.fixture
def leased(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    """The volume `node-a` with 20 objects, all of them leased."""
    cache = make_cache(volume="node-a", allowed_sources=[f"{http_server.endpoint}/"])
    cache.download_media([http_server.put(f"/{n}.bin", b"x" * 100) for n in range(20)], lease="1h")
    return cache


@pytest.mark.parametrize(
    "command",
    [["stats"], ["evict", "--to", "0"], ["prefetch", "http://127.0.0.1/a.bin"], ["jobs"], ["lease", "ls"]],
    ids=lambda command: command[0],
)
def test_a_second_name_for_a_directory_is_refused_and_evicts_nothing(
    leased: MediaCache, forebay: Forebay, valkey: Valkey, command: list[str]
) -> None:
    # When the name of the volume is mistyped
    done = forebay(*command, "--volume", "nope")

    # Then the command says which volume the directory is, and how to rename it,
    directory = leased.config.cache_dir
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        f"error: the directory {directory} is the volume 'node-a' of the Redis {valkey.url}, not 'nope': set "
        "FIFTYONE_MEDIA_CACHE_VOLUME to node-a, or FIFTYONE_MEDIA_CACHE_DIR to another directory. To give "
        "the volume another name, stop every program that uses it and delete "
        f"{directory}/.forebay/volume.json\n"
    )
    # and what the volume's lease keeps is still there; Redis does not know the other name.
    assert sum(path.is_file() for path in Path(leased.engine.files.layout().media_dir).rglob("*")) == 20
    assert list(valkey.client.scan_iter("forebay:{nope}:*")) == []
    assert [record.name for record in leased.engine.open_index().volumes.all()] == ["node-a"]


def test_the_embedded_index_refuses_a_second_name_too(make_cache: MakeCache) -> None:
    make_cache(redis_url=None, volume="node-a").stats()

    with pytest.raises(VolumeError, match="is the volume 'node-a' of the embedded index, not 'nope'"):
        make_cache(redis_url=None, volume="nope").stats()


def test_a_volume_keeps_its_name_when_redis_comes_back_empty(
    leased: MediaCache, make_cache: MakeCache
) -> None:
    leased.close()
    Connection(str(leased.config.redis_url)).command("flushall")

    with pytest.raises(VolumeError, match="is the volume 'node-a' of the Redis"):
        make_cache(volume="nope").stats()
    assert make_cache(volume="node-a").engine.open_index().entries.totals().unindexed == 2000


def test_a_volume_is_renamed_on_purpose(leased: MediaCache, make_cache: MakeCache) -> None:
    leased.close()
    os.unlink(owner_path(leased.config.cache_dir))

    assert make_cache(volume="renamed").engine.open_index().entries.totals().unindexed == 2000
    with pytest.raises(VolumeError, match="is the volume 'renamed' of the Redis"):
        make_cache(volume="node-a").stats()


def test_a_directory_from_before_names_were_written_down_takes_the_first(
    leased: MediaCache, make_cache: MakeCache
) -> None:
    # Given a record without a name
    leased.close()
    path = Path(owner_path(leased.config.cache_dir))
    record = json.loads(path.read_text())
    assert record.pop("volume") == "node-a"
    path.write_text(json.dumps(record))

    # When a program uses it, then it has that program's name
    assert make_cache(volume="node-a").stats()["current_count"] == 20
    assert json.loads(path.read_text()) == record | {"volume": "node-a"}


@pytest.mark.parametrize("command", ["stats", "ls", "jobs", "lease", "doctor"])
def test_looking_makes_no_volume_of_a_name_that_redis_does_not_know(
    leased: MediaCache, forebay: Forebay, valkey: Valkey, tmp_path: Path, command: str
) -> None:
    # When somebody looks for a volume that there is not, from a machine without one
    done = forebay(command, "--volume", "nope", cache_dir=str(tmp_path / "client"))

    # Then they are told which there are, and nothing of that name is made
    assert done.status == (0 if command == "doctor" else 2)
    assert f"volume 'nope' is not known to {valkey.url}: known are node-a; " in done.out + done.err
    assert not (tmp_path / "client" / ".forebay" / "volume.json").exists()
    assert list(valkey.client.scan_iter("forebay:{nope}:*")) == []
