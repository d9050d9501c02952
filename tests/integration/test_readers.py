"""Users who may only read a volume: what is cached they have, and what is missing its workers fetch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.index.connection import Connection
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import valkey
from tests.servers.workers import settings_environment, worker

COUNT = 60
_LOOP = """
import logging, sys
from contextlib import closing
import forebay
logging.basicConfig(level=logging.WARNING, format="warning: %(message)s")
mode, *uris = sys.argv[1:]
samples = [(uri,) for uri in uris]
ahead = forebay.media_cache.look_ahead(samples, batch_size=16, clear=mode == "clear")
ahead.for_children = mode == "children"
got = 0
with closing(ahead):
    for number, uri in enumerate(uris):
        try:
            got += len(open(ahead.path(number, uri), "rb").read()) == 100
        except forebay.ForebayError as error:
            print(f"failed: {error}")
print(f"{got} of {len(uris)}")
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has files that are another user's")


@pytest.fixture
def volume(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    return make_cache(allowed_sources=[f"{http_server.endpoint}/"])


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{number}.bin", b"x" * 100) for number in range(COUNT)]


@pytest.fixture
def fleet(volume: MediaCache) -> Iterator[None]:
    with worker(volume):
        yield


def read(volume: MediaCache, uris: list[str], mode: str) -> str:
    """What a loop prints whose user may only read the volume: root who may not override permissions."""
    done = run(volume, "-c", _LOOP, mode, *uris)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def run(volume: MediaCache, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python as such a user, who has the settings of the volume, and these variables instead."""
    volume.close()
    directory = Path(volume.config.cache_dir)
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, 65534, 65534)
    settings = settings_environment(volume) | {"FIFTYONE_MEDIA_CACHE_DISPATCH": "auto"} | variables
    return subprocess.run(
        [
            "setpriv",
            "--bounding-set=-dac_override,-dac_read_search,-fowner",
            sys.executable,
            *arguments,
        ],
        env=dict(os.environ) | {name: value for name, value in settings.items() if value},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.mark.parametrize("mode", ["straight", "children", "clear"])
def test_a_loop_over_what_is_cached_needs_neither_a_session_nor_a_worker(
    volume: MediaCache, uris: list[str], mode: str
) -> None:
    volume.download_media(uris)
    said = read(volume, uris, mode)
    assert f"{COUNT} of {COUNT}" in said
    assert "failed" not in said
    # Only what the user asked for and cannot have is said, and once.
    expected = ["the volume 'default'"] if mode == "clear" else []
    warnings = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == len(expected) and all(part in warnings[0] for part in expected)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize("mode", ["straight", "children", "clear"])
def test_a_loop_over_what_is_missing_has_it_from_the_workers(
    volume: MediaCache, uris: list[str], mode: str
) -> None:
    volume.download_media(uris[:10])
    said = read(volume, uris, mode)
    assert f"{COUNT} of {COUNT}" in said
    assert "failed" not in said


_URL = "FIFTYONE_MEDIA_CACHE_REDIS_URL"
_COMMANDS = ["stats", "prefetch s3://b/a", "get s3://b/a", "worker", "doctor"]


@pytest.mark.parametrize(
    ("wrong", "command"),
    [*(("other", command) for command in _COMMANDS), ("embedded", "stats"), ("embedded", "doctor")],
)
def test_a_wrong_redis_is_named_and_not_the_directory_that_is_right(
    volume: MediaCache, wrong: str, command: str, tmp_path: Path
) -> None:
    volume.stats()
    with valkey(tmp_path / "other") as other:
        variables = {_URL: other.url if wrong == "other" else ""}
        done = run(volume, "-m", "forebay", *command.split(), **variables)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"belongs to the Redis {volume.config.redis_url}, and a volume has one index" in said
    assert "set FIFTYONE_MEDIA_CACHE_REDIS_URL to that Redis on every host" in said
    assert "FIFTYONE_MEDIA_CACHE_DIR to another" not in said


def test_a_redis_that_was_started_empty_is_said_to_need_the_owner(volume: MediaCache) -> None:
    volume.stats()
    volume.close()
    Connection(str(volume.config.redis_url)).command("flushall")
    done = run(volume, "-m", "forebay", "stats")
    assert done.stderr == (
        f"error: the Redis {volume.config.redis_url} does not know the volume 'default' at "
        f"{volume.config.cache_dir}, so it was started empty, and this user can only read the volume: have "
        "the user that it belongs to start `forebay worker`, which adds the files again\n"
    )


@pytest.mark.parametrize("dispatch", ["auto", "fleet"])
def test_without_a_worker_the_advice_is_one_that_this_user_can_follow(
    volume: MediaCache, dispatch: str
) -> None:
    volume.stats()
    done = run(volume, "-m", "forebay", "prefetch", "s3://b/a", "--dispatch", dispatch)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: no worker of volume 'default' is alive at {volume.config.redis_url}: start one with "
        "`forebay worker` as the user that the volume belongs to, because this user can only read it; if "
        "workers run, set FIFTYONE_MEDIA_CACHE_REDIS_URL to their Redis\n"
    )


@pytest.mark.usefixtures("fleet")
def test_doctor_calls_a_volume_right_that_this_user_shares(volume: MediaCache) -> None:
    volume.stats()
    done = run(volume, "-m", "forebay", "doctor")
    assert done.returncode == 0
    assert (
        f"warning  volume   the volume 'default' at {volume.config.cache_dir} belongs to another"
        in done.stdout
    )
