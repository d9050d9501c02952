"""What goes wrong, what the command line says then, word for word, and its exit status."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.embedded import stop
from tests.caches import MakeCache
from tests.commands import Done, Forebay
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey

pytestmark = pytest.mark.usefixtures("s3_environment")

SCHEMES = (
    "s3://bucket/key, gs://bucket/key, minio://bucket/key, az://container/blob, an http(s):// URL, "
    "or a local path"
)


def error(done: Done) -> str:
    """The one line that a failed command says."""
    assert done.out == ""
    [line] = done.error_lines
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


class TestSettings:
    @pytest.mark.parametrize(
        ("variable", "value", "message"),
        [
            (
                "NUM_WORKERS",
                "many",
                "environment variable FIFTYONE_MEDIA_CACHE_NUM_WORKERS='many' is not allowed: input "
                "should be a "
                "valid integer, unable to parse string as an integer",
            ),
            (
                "SIZE_BYTES",
                "-2",
                "environment variable FIFTYONE_MEDIA_CACHE_SIZE_BYTES='-2' is not allowed: input should be "
                "greater than or equal to -1",
            ),
            (
                "REDIS_URL",
                "http://h",
                "environment variable FIFTYONE_MEDIA_CACHE_REDIS_URL='http://h' is not allowed: must be "
                "a Redis "
                "URL (redis://, rediss://, unix://, redis+socket://, redis+sentinel://, rediss+sentinel://, "
                "sentinel://, redis+cluster://, rediss+cluster://)",
            ),
            (
                "REDIS_URL",
                "redis://h:6379/main",
                "environment variable FIFTYONE_MEDIA_CACHE_REDIS_URL='redis://h:6379/main' is not allowed: "
                "its database must be a number, as in redis://host:6379/0",
            ),
        ],
    )
    def test_a_bad_variable(
        self, forebay: Forebay, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
    ) -> None:
        monkeypatch.setenv(f"FIFTYONE_MEDIA_CACHE_{variable}", value)
        forebay.settings.clear()
        done = forebay("stats")
        assert (error(done), done.status) == (message, 2)

    def test_an_unknown_variable(self, forebay: Forebay, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_SIZE", "5")
        done = forebay("stats")
        assert error(done).startswith(
            "environment variable FIFTYONE_MEDIA_CACHE_SIZE is not a setting; known are FIFTYONE_MEDIA_CACHE_"
        )
        assert done.status == 2

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                "{",
                "{path} is not valid JSON: Expecting property name enclosed in double quotes: line 1 "
                "column 2 (char 1)",
            ),
            ("[]", "{path} must hold a JSON object of settings, not a list"),
            (
                '{"grace_seconds": -1}',
                "{path}: grace_seconds=-1 is not allowed: input should be greater than or equal to 0",
            ),
        ],
    )
    def test_a_bad_file(
        self, forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, message: str
    ) -> None:
        path = tmp_path / "config.json"
        path.write_text(content)
        monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_CONFIG_PATH", str(path))
        done = forebay("stats", grace_seconds=None)
        assert (error(done), done.status) == (message.replace("{path}", str(path)), 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                ["--cache-size", "big"],
                "'big' is not a size; expected for instance 500MB, 50GB or a number of bytes",
            ),
            (
                ["--dispatch", "remote"],
                "setting dispatch='remote' is not allowed: input should be 'auto', 'local' or 'fleet'",
            ),
            (["--lease", "1y"], "'1y' is not a duration; expected for instance 90s, 30m, 24h or 7d"),
            (
                ["--message-size", "0"],
                "setting message_size='0' is not allowed: must be 'auto' or a number from 1 to 1000",
            ),
        ],
    )
    def test_bad_options(self, forebay: Forebay, options: list[str], message: str) -> None:
        done = forebay("prefetch", "s3://bucket/a", *options)
        assert (error(done), done.status) == (message, 2)


class TestURIs:
    @pytest.mark.parametrize(
        ("uri", "message"),
        [
            (
                "ftp://h/a",
                f"'ftp://h/a' has the scheme 'ftp', which Forebay cannot fetch; expected {SCHEMES}",
            ),
            ("s3:///a", "'s3:///a' names no bucket; expected s3://bucket/key"),
            ("https://", "'https://' names no host; expected https://host/path"),
            (
                "s3://u:hunter2@b/a",
                "'s3://b/a' has '@' or ':' in its bucket's name, which no s3 server allows; credentials "
                "belong in "
                "the environment or the settings",
            ),
        ],
    )
    def test_that_nobody_can_fetch(self, forebay: Forebay, uri: str, message: str) -> None:
        for command in (["prefetch", uri, "s3://bucket/a"], ["get", uri], ["verify", uri]):
            done = forebay(*command)
            assert (error(done), done.status) == (message, 2)

    def test_of_local_files(self, forebay: Forebay, tmp_path: Path) -> None:
        (tmp_path / "list.txt").touch()
        done = forebay("prefetch", f"{tmp_path}/list.txt")
        assert done.status == 2
        assert error(done) == (
            f"'{tmp_path}/list.txt' is a local path, which needs no cache; expected for instance "
            f"s3://bucket/key; to read URIs from that file, write @{tmp_path}/list.txt"
        )

    def test_that_may_not_be_fetched(self, forebay: Forebay) -> None:
        done = forebay("get", "s3://bucket/a", allowed_sources="gs://")
        assert done.status == 1
        assert error(done) == "s3://bucket/a: not in the setting allowed_sources, which allows gs://"

    @pytest.mark.parametrize("options", [[], ["--dry-run"]], ids=["prefetch", "dry-run"])
    def test_of_a_prefix_without_its_slash(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, options: list[str]
    ) -> None:
        s3_server.put(s3_bucket, "train/a.jpg", b"x")
        done = forebay("prefetch", f"s3://{s3_bucket}/train", *options)
        assert done.status == 1
        hint = f"a prefix ends in /: s3://{s3_bucket}/train/ stands for all objects below it"
        assert hint in done.error_lines

    def test_of_a_prefix_where_one_object_is_meant(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str
    ) -> None:
        s3_server.put(s3_bucket, "train/a.jpg", b"x")
        done = forebay("get", f"s3://{s3_bucket}/train/")
        assert done.status == 2
        assert error(done) == (
            f"s3://{s3_bucket}/train/ is a prefix, and get takes one object: `forebay prefetch "
            f"s3://{s3_bucket}/train/` takes all below it"
        )

    def test_of_a_prefix_with_nothing_below(self, forebay: Forebay, s3_bucket: str) -> None:
        done = forebay("prefetch", f"s3://{s3_bucket}/none/")
        assert (error(done), done.status) == (f"s3://{s3_bucket}/none/: there is no object below it", 1)


class TestManifests:
    @pytest.fixture
    def proxied(self, s3_proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
        return s3_proxy

    def test_a_broken_line_costs_its_own_sample_only(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, proxied: Proxy, tmp_path: Path
    ) -> None:
        good = s3_server.put(s3_bucket, "a", b"a")
        (tmp_path / "list.txt").write_text(f"{good}\n\n{good[5:]}\n")

        done = forebay("prefetch", f"@{tmp_path}/list.txt", good)

        assert done.status == 1
        assert "2 of 3 samples cached" in done.out
        assert (
            f"{tmp_path}/list.txt, line 3: '{good[5:]}' is no URI; expected for instance "
            "s3://bucket/key, or an absolute local path; relative names need --root"
        ) in done.err
        assert len(proxied.requests) == 1

    def test_of_standard_input(self, forebay: Forebay) -> None:
        done = forebay("prefetch", "-", input='{"uri": "s3://b/a"}\n{"url": 1}\n')
        assert done.status == 1
        assert "standard input, line 2, key 'url': expected a URI, found 1" in done.err

    def test_that_is_not_there(self, forebay: Forebay) -> None:
        done = forebay("prefetch", "@none.txt")
        assert (error(done), done.status) == ("the manifest none.txt does not exist", 2)

    def test_without_anything_in_it(self, forebay: Forebay) -> None:
        done = forebay("prefetch", "-", input="# nothing today\n")
        assert (error(done), done.status) == ("standard input names nothing: it has no URI", 2)


class TestVolume:
    def test_that_lies_below_a_file(self, forebay: Forebay, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        done = forebay("prefetch", "s3://b/a", cache_dir=f"{tmp_path}/file/cache")
        assert done.status == 2
        assert error(done) == (
            f"the cache directory {tmp_path}/file/cache cannot be written (Not a directory): "
            "fix it, or set FIFTYONE_MEDIA_CACHE_DIR to another one"
        )

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_that_may_not_be_written(self, forebay: Forebay, tmp_path: Path) -> None:
        (tmp_path / "cache").mkdir(mode=0o500)
        done = forebay("prefetch", "s3://b/a")
        assert done.status == 2
        assert error(done) == (
            f"the cache directory {tmp_path}/cache cannot be written (Permission denied): "
            "fix it, or set FIFTYONE_MEDIA_CACHE_DIR to another one"
        )

    def test_of_another_index(self, forebay: Forebay, cache: MediaCache, tmp_path: Path) -> None:
        cache.stats()
        with running_valkey(tmp_path / "other") as other:
            done = forebay("stats", redis_url=other.url)
        assert done.status == 2
        assert error(done) == (
            f"the volume {tmp_path}/cache belongs to the Redis {forebay.settings['redis_url']}, and a "
            f"volume has one "
            "index: to share it, set FIFTYONE_MEDIA_CACHE_REDIS_URL to that Redis on every host. To hand "
            "it over to "
            f"another index, stop every program that uses it and delete {tmp_path}/cache/.forebay/volume.json"
        )


class TestRedis:
    @pytest.fixture
    def closed(self) -> Iterator[int]:
        """A port that nobody listens on, and nobody else can take."""
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            yield held.getsockname()[1]

    def test_that_is_down(self, forebay: Forebay, closed: int) -> None:
        message = (
            f"Redis at redis://127.0.0.1:{closed}/0 cannot be reached (Error 111 connecting to "
            f"127.0.0.1:{closed}. "
            "Connection refused): start it, or check FIFTYONE_MEDIA_CACHE_REDIS_URL"
        )
        for command in (["prefetch", "s3://b/a"], ["stats"], ["jobs"], ["worker"], ["up", "--no-flower"]):
            done = forebay(*command, redis_url=f"redis://127.0.0.1:{closed}/0")
            assert (error(done), done.status) == (message, 2)

    def test_with_another_password(self, forebay: Forebay, tmp_path: Path) -> None:
        with running_valkey(tmp_path / "locked", password="hunter2") as server:
            wrong = forebay("stats", redis_url=server.url.replace("hunter2", "hunter3"))
            none = forebay("stats", redis_url=server.url.replace(":hunter2@", ""))
            right = forebay("stats", redis_url=server.url)
        assert (wrong.status, none.status, right.status) == (2, 2, 0)
        assert error(wrong) == (
            f"Redis at redis://:***@127.0.0.1:{server.port}/0 refuses the password or user name (invalid "
            "username-password pair or user is disabled): check FIFTYONE_MEDIA_CACHE_REDIS_URL"
        )
        assert error(none) == (
            f"Redis at redis://127.0.0.1:{server.port}/0 wants a password: put it into "
            "FIFTYONE_MEDIA_CACHE_REDIS_URL, as in redis://:password@host:6379/0"
        )

    def test_that_drops_keys(self, forebay: Forebay, tmp_path: Path) -> None:
        with running_valkey(tmp_path / "lossy", policy="allkeys-lru") as server:
            done = forebay("stats", redis_url=server.url)
        assert done.status == 2
        assert error(done) == (
            f"Redis at {server.url} has the maxmemory-policy 'allkeys-lru', under which it deletes "
            "keys of the index when its memory is full: set it to 'noeviction'"
        )

    def test_without_that_database(self, forebay: Forebay, valkey: Valkey) -> None:
        url = valkey.url.replace("/0", "/99")
        for command in (["prefetch", "s3://b/a"], ["stats"], ["jobs"], ["volumes"], ["worker"]):
            done = forebay(*command, redis_url=url)
            assert done.status == 2
            assert error(done) == (
                f"Redis at {url} has no such database: set FIFTYONE_MEDIA_CACHE_REDIS_URL to one that it "
                "has, mostly 0 to 15; the queue uses the next, unless FIFTYONE_MEDIA_CACHE_BROKER_URL says "
                "otherwise"
            )

    def test_without_the_database_of_the_queue(
        self, forebay: Forebay, valkey: Valkey, s3_server: S3Server, s3_bucket: str
    ) -> None:
        # Given the last database, after which there is none for the queue
        url = valkey.url.replace("/0", "/15")
        message = (
            f"Redis at {valkey.url.replace('/0', '/16')} has no such database, which Celery's queue is to "
            "use: set FIFTYONE_MEDIA_CACHE_BROKER_URL to one that it has, and that is not the index's"
        )

        # Then threads of the command do without it,
        assert forebay("prefetch", s3_server.put(s3_bucket, "a", b"x"), redis_url=url).status == 0
        # and what needs it says so.
        worker, doctor = forebay("worker", redis_url=url), forebay("doctor", redis_url=url)
        assert (error(worker), worker.status) == (message, 2)
        assert doctor.status == 1
        assert f"wrong    broker   {message}" in doctor.lines
        assert forebay("worker", redis_url=url, broker_url=valkey.url.replace("/0", "/99")).status == 2

    def test_a_worker_stops_when_the_broker_may_drop_messages(
        self, forebay: Forebay, valkey: Valkey, tmp_path: Path
    ) -> None:
        with running_valkey(tmp_path / "lossy", policy="allkeys-lru") as lossy:
            done = forebay("worker", broker_url=lossy.url)
        assert done.status == 2
        assert error(done).startswith(
            f"Redis at {lossy.url} has the maxmemory-policy 'allkeys-lru', under which it deletes "
            "keys of the queue"
        )

    def test_that_is_full(
        self, forebay: Forebay, valkey: Valkey, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a", b"x")
        forebay("stats")
        valkey.client.config_set("maxmemory", 1)
        done = forebay("get", uri)
        assert done.status == 2
        assert error(done) == (
            f"Redis at {valkey.url} is full: raise its maxmemory, or move what else it holds to another Redis"
        )

    def test_doctor_says_the_same_and_goes_on(self, forebay: Forebay, closed: int) -> None:
        done = forebay(
            "doctor", "gs://b/a", redis_url=f"redis://127.0.0.1:{closed}/0", allowed_sources="s3://"
        )
        assert done.status == 1
        states = [line.split()[:2] for line in done.lines]
        assert [states[0], states[1], states[3]] == [
            ["ok", "volume"],
            ["wrong", "redis"],
            ["wrong", "source"],
        ]
        assert "start it, or check FIFTYONE_MEDIA_CACHE_REDIS_URL" in done.lines[1]


class TestSpace:
    def test_an_object_larger_than_the_cache(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "large", b"x" * 5000)
        reason = "its 4.9KB are more than the whole cache of 3.9KB; raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"

        one = forebay("get", uri, "--cache-size", "4000")
        job = forebay("prefetch", uri, "--cache-size", "4000", "--json")

        assert (error(one), one.status) == (f"{uri}: {reason}", 1)
        assert job.status == 1
        assert job.json["failures"] == [{"uri": uri, "reason": reason, "attempts": 1}]

    def test_a_cache_full_of_leased_entries(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str
    ) -> None:
        kept = s3_server.put(s3_bucket, "kept", b"x" * 3000)
        wanted = s3_server.put(s3_bucket, "wanted", b"x" * 2000)
        forebay("prefetch", kept, "--cache-size", "4000")
        forebay("lease", "add", kept, "--for", "1h", "--name", "run-7")
        reason = (
            "no room for 2.0KB in a cache of 3.9KB: leases (run-7) hold 2.9KB; end a lease, or raise "
            "FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
        )

        one = forebay("get", wanted, "--cache-size", "4000")
        job = forebay("prefetch", wanted, "--cache-size", "4000")

        assert (error(one), one.status) == (f"{wanted}: {reason}", 1)
        assert job.status == 1
        assert f"failed: {wanted}: {reason}" in job.error_lines

    def test_a_disk_at_its_floor(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, tmp_path: Path
    ) -> None:
        uri = s3_server.put(s3_bucket, "a", b"x")
        done = forebay("get", uri, min_free_bytes=1 << 60)
        assert done.status == 1
        assert error(done) == (
            f"{uri}: no room for 1B on {tmp_path}/cache: downloads leave 1024.0PB of the disk free, and "
            f"nothing is "
            "left to evict; free some space, or lower FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES"
        )


class TestFleet:
    def test_without_workers(self, forebay: Forebay) -> None:
        done = forebay("prefetch", "s3://b/a", "--dispatch", "fleet")
        assert done.status == 2
        assert error(done) == (
            f"no worker of volume 'default' is alive at {forebay.settings['redis_url']}: start one with "
            "`forebay worker`, or use --dispatch local; if workers run, set FIFTYONE_MEDIA_CACHE_REDIS_URL "
            "to their Redis"
        )

    def test_without_workers_that_the_embedded_index_knows(self, forebay: Forebay, tmp_path: Path) -> None:
        directory = str(tmp_path / "other")
        try:
            done = forebay("prefetch", "s3://b/a", "--dispatch", "fleet", redis_url=None, cache_dir=directory)
        finally:
            stop(directory)
        assert error(done) == (
            "no worker of volume 'default' is alive with the embedded index: start one with `forebay "
            "worker`, or use --dispatch local; if workers run, set FIFTYONE_MEDIA_CACHE_REDIS_URL to their "
            "Redis"
        )

    def test_a_job_that_has_ended_cannot_be_cancelled(self, forebay: Forebay, make_cache: MakeCache) -> None:
        job = make_cache().download_media([]).id
        done = forebay("job", job, "--cancel")
        assert done.status == 0
        assert done.error_lines == [f"job {job} has ended already: there is nothing to cancel"]

    def test_job_of_another_volume(self, forebay: Forebay, make_cache: MakeCache) -> None:
        job = make_cache().create_job(["s3://b/a"]).id
        done = forebay("job", job, "--volume", "v2", "--cache-dir", str(make_cache().config.cache_dir) + "2")
        assert done.status == 2
        assert error(done) == (
            f"job {job!r} is not known on volume 'v2': `forebay jobs` lists those that are"
        )
