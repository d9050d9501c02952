"""Several volumes on one Redis: each its own, filled together, listed, and forgotten."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import forebay as api
from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig
from forebay.errors import ConfigError, DownloadError, NoWorkersError, VolumeError
from forebay.index.registry import KEY
from forebay.uri import entry_of
from forebay.volume.absent_files import AbsentFiles
from forebay.volumes.known_volumes import Volumes
from tests.caches import MakeCache
from tests.commands import Forebay, ended
from tests.servers.embedded import eventually
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")

COUNT = 60
SIZE = 1000


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    return s3_server.put_many(s3_bucket, {f"{n:03}": b"x" * SIZE for n in range(COUNT)})


@pytest.fixture
def nodes(make_cache: MakeCache, tmp_path: Path) -> Iterator[dict[str, MediaCache]]:
    """Two volumes, each with a directory and a worker of its own: node-a has room for everything,
    node-b for 20 objects."""
    with contextlib.ExitStack() as stack:
        made = {}
        for name, limit in (("node-a", 1_000_000), ("node-b", 20 * SIZE)):
            cache = make_cache(
                volume=name, cache_dir=str(tmp_path / name), cache_size_bytes=limit, num_workers=2
            )
            stack.enter_context(worker(cache, name=name))
            made[name] = cache
        yield made


@pytest.fixture
def slow(s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """S3 through a proxy that lets each object wait for a moment, for workers that are started after it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    s3_proxy.fault(None, Fault(delay=0.2))
    return s3_proxy


@pytest.fixture
def client(forebay: Forebay, tmp_path: Path) -> Forebay:
    """The command on a machine whose own disk holds neither volume."""
    forebay.settings |= {"cache_dir": str(tmp_path / "client"), "dispatch": "auto"}
    return forebay


def on_disk(cache: MediaCache) -> int:
    """Bytes of the files that lie on a volume."""
    return sum(
        p.stat().st_size for p in Path(cache.engine.files.layout().media_dir).rglob("*") if p.is_file()
    )


def pretend(valkey: Valkey, name: str, **changes: object) -> None:
    """Lets a volume have said something else of itself."""
    record = json.loads(valkey.client.hget(KEY, name))
    valkey.client.hset(KEY, name, json.dumps(record | changes))


def announced(cache: MediaCache, valkey: Valkey, **changes: object) -> None:
    """A volume that a process has used, and has said so."""
    cache.engine.open_session()
    cache.close()
    pretend(valkey, cache.config.volume, **changes)


class TestBroadcast:
    def test_both_are_filled_each_within_its_limit(
        self, nodes: dict[str, MediaCache], client: Forebay, uris: list[str], tmp_path: Path
    ) -> None:
        # When one command fills two volumes, of which one is too small for everything
        done = client("prefetch", *uris, "--volume", "node-a,node-b", "--json")

        # Then every sample came to both,
        assert done.status == 0, done.err
        found = done.json
        assert (found["state"], found["total"], found["downloaded"]) == ("done", 2 * COUNT, 2 * COUNT)
        assert found["volumes"].keys() == nodes.keys()
        for name in nodes:
            assert found["volumes"][name]["downloaded"] == COUNT
            assert found["volumes"][name]["dispatch"] == "fleet"
        # each volume keeps to its own limit and has the last of it,
        sizes = {name: on_disk(cache) for name, cache in nodes.items()}
        assert sizes["node-a"] == COUNT * SIZE
        assert 0 < sizes["node-b"] <= 20 * SIZE
        assert all(cache.engine.files.locate(entry_of(uris[-1])) for cache in nodes.values())
        # the statistics are each volume's own,
        listed = {one["name"]: one for one in client("volumes", "--json").json}
        for name, cache in nodes.items():
            assert listed[name]["size"] == sizes[name] == cache.stats()["current_size"]
            assert listed[name]["limit"] == cache.config.cache_size_bytes
            assert listed[name]["workers"] == 1
            assert [job.id for job in cache.jobs()] == [found["volumes"][name]["id"]]
        assert nodes["node-a"].engine.open_index().counters.read().get("", {}).get("evicted_objects", 0) == 0
        # and the client, who holds neither, has not made a directory.
        assert not (tmp_path / "client").exists()

    def test_what_people_see(
        self, nodes: dict[str, MediaCache], client: Forebay, uris: list[str], s3_bucket: str
    ) -> None:
        done = client("prefetch", *uris[:10], f"s3://{s3_bucket}/missing", "--volume", "all")

        assert done.status == 1
        for name in nodes:
            assert f"volume {name}, job " in done.err
            missing = f"s3://{s3_bucket}/missing: no such object (404 Not Found: NoSuchKey)"
            assert f"failed on {name}: {missing}\n" in done.err
            assert any(line.startswith(f"{name}: 10 of 11 samples cached, ") for line in done.lines)
            assert f" --retry --volume {name}\n" in done.err
        assert len(done.lines) == 2

    def test_without_waiting(self, nodes: dict[str, MediaCache], client: Forebay, uris: list[str]) -> None:
        # Given jobs that nobody waits for
        started = client("prefetch", *uris[:5], "--volume", "all", "--no-wait")
        assert started.status == 0

        # When somebody watches each from a machine that has neither volume
        for line in started.lines:
            name, job = line.split()
            watched = client("job", job, "--watch", "--volume", name)
            assert watched.out.startswith("5 of 5 samples cached")
            assert client("jobs", "--volume", name).lines[1].startswith(job)

    def test_one_that_is_elsewhere(
        self, nodes: dict[str, MediaCache], client: Forebay, uris: list[str], tmp_path: Path
    ) -> None:
        done = client("prefetch", *uris[:5], "--volume", "node-b", "--lease", "1h", "--json")
        assert (done.status, done.json["downloaded"]) == (0, 5)
        assert client("lease", "--volume", "node-b", "--json").json[0]["entries"] == 5
        assert nodes["node-b"].stats()["current_count"] == 5
        assert nodes["node-a"].stats()["current_count"] == 0
        assert not (tmp_path / "client").exists()

    def test_interrupted(self, slow: Proxy, request, client: Forebay, uris: list[str]) -> None:
        # Given a prefetch into two volumes that has begun
        nodes: dict[str, MediaCache] = request.getfixturevalue("nodes")
        with client.started("prefetch", *uris, "--volume", "all") as process:
            eventually(lambda: all(any(j.downloaded for j in cache.jobs()) for cache in nodes.values()), 30)

            # When it is interrupted
            process.send_signal(signal.SIGINT)
            done = ended(process)

        # Then the jobs go on, and it says how to watch and to cancel each
        assert done.status == 130
        for name, cache in nodes.items():
            [status] = cache.jobs()
            assert f"interrupted: the job of {name} continues through its fleet; " in done.err
            assert f"forebay job {status.id} --watch --volume {name}\n" in done.err
            assert client("job", status.id, "--cancel", "--volume", name).status == 0

    def test_from_python(
        self, nodes: dict[str, MediaCache], valkey: Valkey, uris: list[str], s3_bucket: str, tmp_path: Path
    ) -> None:
        volumes = api.Volumes(MediaCacheConfig(redis_url=valkey.url, cache_dir=str(tmp_path / "client")))
        seen = []

        jobs = volumes.download_media(
            [*uris[:5], f"s3://{s3_bucket}/missing"], ["node-a", "node-b"], progress=seen.append
        )

        assert (jobs.status().total, jobs.status().failed) == (12, 2)
        assert {name: status.downloaded for name, status in jobs.statuses().items()} == {
            "node-a": 5,
            "node-b": 5,
        }
        assert {name: [one.uri for one in failures] for name, failures in jobs.failures().items()} == {
            name: [f"s3://{s3_bucket}/missing"] for name in nodes
        }
        assert seen[-1].total == 12
        assert jobs.errors == jobs.skipped == {}
        with pytest.raises(VolumeError, match="volume 'node-a' is not on this machine: it is "):
            volumes.cache("node-a").local_path(uris[0])
        volumes.close()

    def test_to_raise_at_the_first_failure_cancels_all(
        self, nodes: dict[str, MediaCache], valkey: Valkey, s3_bucket: str, tmp_path: Path
    ) -> None:
        volumes = Volumes(MediaCacheConfig(redis_url=valkey.url, cache_dir=str(tmp_path / "client")))
        with pytest.raises(DownloadError, match="missing"):
            volumes.download_media([f"s3://{s3_bucket}/missing"], skip_failures=False)
        assert all(job.state != "running" for cache in nodes.values() for job in cache.jobs())


class TestWhoFills:
    def test_one_without_workers_and_nothing_is_begun(
        self, make_cache: MakeCache, client: Forebay, uris: list[str], valkey: Valkey, tmp_path: Path
    ) -> None:
        # Given a volume with a worker, and one elsewhere that has none
        a = make_cache(volume="node-a", cache_dir=str(tmp_path / "a"))
        b = make_cache(volume="node-b", cache_dir=str(tmp_path / "b"))
        announced(b, valkey, host="another-machine")
        with worker(a):
            # When both are named, then nothing is begun
            done = client("prefetch", *uris, "--volume", "node-a,node-b")
            assert (done.status, done.out) == (2, "")
            assert f"error: no worker of volume 'node-b' is alive at {valkey.url}: start one with" in done.err
            assert a.jobs() == []

            # When all are meant, it is left out, and that is said
            done = client("prefetch", *uris[:3], "--volume", "all")
            assert done.status == 0
            assert "warning: volume node-b is left out: no worker of volume 'node-b' is alive" in done.err

    def test_none_at_all(self, client: Forebay, uris: list[str]) -> None:
        done = client("prefetch", *uris, "--volume", "all")
        assert done.status == 2
        assert done.err.endswith(" can be filled: there is none yet\n")

    def test_local_dispatch_fills_what_is_here(
        self, make_cache: MakeCache, client: Forebay, uris: list[str], valkey: Valkey, tmp_path: Path
    ) -> None:
        # Given two volumes of this machine, without workers
        nodes = [make_cache(volume=n, cache_dir=str(tmp_path / n), cache_size_bytes=5000) for n in ("a", "b")]
        for cache in nodes:
            announced(cache, valkey)

        done = client("prefetch", *uris[:5], "--volume", "a,b", "--json", dispatch="local")

        assert done.status == 0, done.err
        assert [one["dispatch"] for one in done.json["volumes"].values()] == ["local", "local"]
        assert [on_disk(cache) for cache in nodes] == [5000, 5000]

    def test_local_dispatch_for_one_that_is_elsewhere(
        self, make_cache: MakeCache, client: Forebay, uris: list[str], valkey: Valkey, tmp_path: Path
    ) -> None:
        announced(
            make_cache(volume="node-b", cache_dir=str(tmp_path / "b")), valkey, host="n2", directory="/cache"
        )
        for volume in ("node-b", "node-b,node-b"):
            done = client("prefetch", *uris, "--volume", volume, dispatch="local")
            assert done.status == 2
            assert done.err == (
                "error: volume 'node-b' is not on this machine, it is n2:/cache: local dispatch fills only "
                "volumes of this machine; use --dispatch fleet\n"
            )

    def test_an_unknown_one(self, client: Forebay, make_cache: MakeCache, uris: list[str]) -> None:
        make_cache(volume="node-a").engine.open_session()
        done = client("prefetch", *uris, "--volume", "node-a,node-x")
        assert done.status == 2
        assert "error: volume 'node-x' is not known to redis://127.0.0.1:" in done.err
        assert ": known are node-a; a volume becomes known when a worker or a program uses it\n" in done.err

    def test_several_need_a_redis(self, forebay: Forebay, uris: list[str], tmp_path: Path) -> None:
        done = forebay("prefetch", *uris, "--volume", "a,b", redis_url=None)
        assert done.status == 2
        assert "error: volume 'a' needs a Redis that it shares with this machine: set FIFTYONE" in done.err

    def test_commands_for_one_volume_take_one(self, client: Forebay) -> None:
        done = client("stats", "--volume", "a,b")
        assert done.status == 2
        assert "error: setting volume='a,b' is not allowed" in done.err

    def test_all_is_no_name(self) -> None:
        with pytest.raises(ConfigError, match="'all' stands for every volume; give this one another name"):
            MediaCacheConfig(volume="all")

    def test_a_shared_directory_is_here_whatever_it_is_called(
        self, make_cache: MakeCache, valkey: Valkey, tmp_path: Path
    ) -> None:
        # Given a volume that another machine announced, and which this one has mounted
        cache = make_cache(volume="shared", cache_dir=str(tmp_path / "mounted"))
        announced(cache, valkey, host="another-machine", directory="/export/cache")

        found = Volumes(cache.config).cache("shared")

        assert not isinstance(found.engine.files, AbsentFiles)


class TestListed:
    def test_an_active_and_a_stale_one(
        self, make_cache: MakeCache, client: Forebay, uris: list[str], valkey: Valkey, tmp_path: Path
    ) -> None:
        a = make_cache(volume="node-a", cache_dir=str(tmp_path / "a"), cache_size_bytes=10_000)
        a.download_media(uris[:5])
        a.engine.counters.flush(a.engine.open_index())
        a.engine.open_index().workers.announce("w1@a", 8, samples=0)
        b = make_cache(volume="node-b", cache_dir=str(tmp_path / "b"), cache_size_bytes=-1)
        announced(b, valkey, host="n2", directory="/cache", seen=time.time() - 7200)

        done = client("volumes")

        assert done.lines[0].split()[:8] == [
            *["volume", "used", "limit", "full", "objects", "workers", "rate", "seen"]
        ]
        place = f"{socket.gethostname()}:{tmp_path}/a"
        assert done.lines[1].split() == [
            *["node-a", "4.9KB", "9.8KB", "50%", "5", "1", "83B/s", "now", place]
        ]
        assert done.lines[2].split() == [
            *["node-b", "0B", "none", "0", "0", "0B/s", "stale,", "2", "h", "ago", "n2:/cache"]
        ]
        [first, second] = client("volumes", "--json").json
        assert (first["size"], first["threads"], first["stale"]) == (5000, 8, False)
        assert (second["host"], second["limit"], second["stale"]) == ("n2", -1, True)

    def test_none(self, client: Forebay) -> None:
        done = client("volumes")
        assert (done.status, done.out) == (0, "")
        assert done.err == "no volumes: a volume is listed as soon as a worker or a program has used it\n"

    def test_a_heartbeat_keeps_it_from_being_stale(self, make_cache: MakeCache, valkey: Valkey) -> None:
        cache = make_cache(claim_ttl_seconds=1.0)
        cache.engine.open_session()
        pretend(valkey, "default", seen=0.0)
        eventually(lambda: not Volumes(cache.config).list()[0].stale)


class TestLookedAt:
    def test_jobs_and_leases_of_several(
        self, make_cache: MakeCache, client: Forebay, uris: list[str], tmp_path: Path
    ) -> None:
        # Given two volumes, each with a job and its lease
        jobs = {}
        for name, time_left in (("node-a", "2h"), ("node-b", "1h")):
            cache = make_cache(volume=name, cache_dir=str(tmp_path / name))
            jobs[name] = cache.download_media(uris[:5], lease=time_left).id

        # When somebody lists them from elsewhere
        listed, leases = client("jobs", "--volume", "all"), client("lease", "ls", "--volume", "all")

        # Then jobs come by age, leases by the time that they have left, each with its volume
        assert [line.split()[:2] for line in listed.lines] == [
            ["volume", "job"],
            ["node-a", jobs["node-a"]],
            ["node-b", jobs["node-b"]],
        ]
        assert [line.split()[:2] for line in leases.lines] == [
            ["volume", "lease"],
            ["node-b", f"job-{jobs['node-b']}"],
            ["node-a", f"job-{jobs['node-a']}"],
        ]
        some = client("jobs", "--volume", "node-b,node-a", "--json").json
        assert [(one["volume"], one["id"]) for one in some] == list(jobs.items())
        assert [one["volume"] for one in client("lease", "--volume", "all", "--json").json] == [
            "node-b",
            "node-a",
        ]

    def test_one_that_is_not_known(self, client: Forebay, make_cache: MakeCache) -> None:
        make_cache(volume="node-a").engine.open_session()
        done = client("jobs", "--volume", "node-a,node-x")
        assert done.status == 2
        assert "volume 'node-x' is not known to redis://" in done.err

    def test_none_at_all(self, client: Forebay) -> None:
        done = client("jobs", "--volume", "all")
        assert (done.status, done.out, done.err) == (0, "", "no jobs\n")


class TestForgotten:
    def test_a_stale_one_leaves_nothing_in_redis_and_comes_back_with_its_files(
        self, make_cache: MakeCache, client: Forebay, uris: list[str], valkey: Valkey, tmp_path: Path
    ) -> None:
        # Given a volume with files, a job and a lease, that is no longer used
        cache = make_cache(volume="node-b", cache_dir=str(tmp_path / "b"))
        cache.download_media(uris[:5], lease="1h")
        cache.close()
        pretend(valkey, "node-b", seen=time.time() - 7200)

        # When it is forgotten
        done = client("volumes", "--forget", "node-b")

        # Then Redis knows nothing of it but who counted last, which expires,
        assert (done.status, done.out) == (
            0,
            "volume node-b is forgotten; its files are still there\n",
        )
        kept = list(valkey.client.scan_iter("forebay:{node-b}:*"))
        assert all(valkey.client.ttl(key) > 0 for key in kept), kept
        assert client("volumes", "--json").json == []
        # and whoever uses it again finds its files.
        again = make_cache(volume="node-b", cache_dir=str(tmp_path / "b"))
        assert again.download_media(uris[:5]).cached == 5

    def test_one_in_use_is_not_forgotten(self, make_cache: MakeCache, client: Forebay) -> None:
        cache = make_cache(volume="node-b")
        cache.engine.open_session()
        done = client("volumes", "--forget", "node-b")
        assert done.status == 2
        place = f"{socket.gethostname()}:{cache.config.cache_dir}"
        assert done.err == (
            f"error: volume 'node-b' is in use at {place}: stop its workers and programs, and try again 60 s "
            "later\n"
        )

    def test_an_unknown_one(self, client: Forebay) -> None:
        done = client("volumes", "--forget", "node-x")
        assert done.status == 2
        assert "volume 'node-x' is not known to redis://" in done.err


def test_one_volumes_outage_does_not_stop_the_others(
    make_cache: MakeCache, s3_proxy: Proxy, uris: list[str], tmp_path: Path, valkey: Valkey, monkeypatch
) -> None:
    # Given two volumes, of which one loses its only worker while it works
    slow = {"worker_timeout_seconds": 1.0, "num_workers": 1}
    a = make_cache(volume="node-a", cache_dir=str(tmp_path / "a"), **slow)
    b = make_cache(volume="node-b", cache_dir=str(tmp_path / "b"), **slow)
    client = MediaCacheConfig(redis_url=valkey.url, cache_dir=str(tmp_path / "c"), worker_timeout_seconds=1.0)
    with worker(a):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
        s3_proxy.fault(None, Fault(delay=0.2))
        with worker(b, name="w2") as process:
            jobs = Volumes(client).download_media(uris[:20], ["node-a", "node-b"], wait=False)
            eventually(lambda: jobs.statuses()["node-b"].downloaded)
            process.kill()
            b.engine.open_index().workers.retire("w2@test")

            jobs.wait()

    assert jobs.statuses()["node-a"].downloaded == 20
    assert jobs.errors.keys() == {"node-b"}
    assert isinstance(jobs.errors["node-b"], NoWorkersError)
