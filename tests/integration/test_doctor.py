"""The check-up finds what is wrong, and says what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.checks.doctor import CheckResult, examine
from forebay.index.workers import ALIVE_SECONDS
from tests.caches import MakeCache, age_worker
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.valkey import valkey as running_valkey

pytestmark = pytest.mark.usefixtures("s3_environment")


def found(cache: MediaCache, uri: str | None = None) -> dict[str, CheckResult]:
    """The last finding of each name."""
    return {finding.name: finding for finding in examine(cache, uri)}


def test_directories_and_files_that_are_not_there_are_told(make_cache: MakeCache, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    missing = str(tmp_path / "missing")
    places = {"upstream_dir": missing, "local_roots": [str(tmp_path / "nas"), f"{missing}/a"]}
    cache = make_cache(**places, group="lab", group_tls_ca=f"{missing}/ca.pem")

    told = [finding.message for finding in examine(cache) if finding.name == "places"]

    assert [text.split("=")[0].split(" ")[0] for text in told] == [
        "FIFTYONE_MEDIA_CACHE_UPSTREAM_DIR",
        "FIFTYONE_MEDIA_CACHE_LOCAL_ROOTS",
        "FIFTYONE_MEDIA_CACHE_GROUP_TLS_CA",
    ]
    assert all(missing in text for text in told)


def test_all_is_well(make_cache: MakeCache) -> None:
    findings = list(examine(make_cache(cache_size_bytes=1000)))
    assert [(f.name, f.state) for f in findings] == [
        (name, "ok") for name in ("volume", "redis", "index", "broker", "workers", "space")
    ]


def test_a_directory_that_cannot_be_written(make_cache: MakeCache, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = found(make_cache(cache_dir=f"{tmp_path}/file/cache"))
    assert findings["volume"].state == findings["space"].state == "wrong"
    assert "set FIFTYONE_MEDIA_CACHE_DIR to another one" in findings["volume"].message
    assert "index" not in findings


def test_a_redis_that_drops_keys(make_cache: MakeCache, tmp_path: Path) -> None:
    with running_valkey(tmp_path / "lossy", policy="volatile-lru") as server:
        finding = found(make_cache(redis_url=server.url))["redis"]
    assert finding.state == "wrong"
    assert finding.message.endswith("set it to 'noeviction'")


def test_a_redis_that_is_nearly_full(make_cache: MakeCache, valkey: Valkey) -> None:
    valkey.client.set("ballast", b"x" * 20_000_000)
    valkey.client.config_set("maxmemory", valkey.client.info()["used_memory"] + 1_500_000)
    finding = found(make_cache())["redis"]
    assert finding.state == "warning"
    assert finding.message.endswith(": raise maxmemory")


def test_a_broker_that_is_down(make_cache: MakeCache) -> None:
    finding = found(make_cache(broker_url="redis://127.0.0.1:1/0"))["broker"]
    assert finding.state == "wrong"
    assert finding.message.endswith("start it, or check FIFTYONE_MEDIA_CACHE_BROKER_URL")


def test_a_volume_of_another_index(make_cache: MakeCache, tmp_path: Path) -> None:
    make_cache().stats()
    with running_valkey(tmp_path / "other") as server:
        findings = found(make_cache(redis_url=server.url))
    assert findings["index"].state == "wrong"
    assert "belongs to the Redis" in findings["index"].message
    assert "workers" not in findings


def test_too_little_space(make_cache: MakeCache) -> None:
    floor = found(make_cache(min_free_bytes=1 << 60))["space"]
    assert (floor.state, "lower FIFTYONE_MEDIA_CACHE_MIN_FREE_BYTES" in floor.message) == ("wrong", True)
    for limit, text in ((1 << 60, "the cache may grow to 1024.0PB"), (-1, "the cache has no limit")):
        finding = found(make_cache(cache_size_bytes=limit))["space"]
        assert (finding.state, text in finding.message) == ("warning", True)


def test_leases_that_keep_nearly_everything(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
) -> None:
    uri = s3_server.put(s3_bucket, "a", b"x" * 950)
    cache = make_cache(cache_size_bytes=1000)
    cache.local_path(uri)
    cache.lease([uri], 60, "run-7")

    finding = found(cache)["leases"]

    assert finding.state == "warning"
    assert finding.message == (
        "leases (run-7) keep 950B of 1000B, so almost nothing can be evicted: end one with "
        "`forebay lease end`, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
    )


class TestWorkers:
    def test_none(self, make_cache: MakeCache) -> None:
        auto, only = found(make_cache(dispatch="auto")), found(make_cache(dispatch="fleet"))
        assert auto["workers"].state == "ok"
        assert auto["workers"].message == (
            "downloads run with 4 threads of the calling process; for a fleet, start workers with "
            "`forebay worker`"
        )
        assert only["workers"].state == "wrong"
        assert "start one with `forebay worker`" in only["workers"].message

    def test_alive(self, make_cache: MakeCache) -> None:
        cache = make_cache(dispatch="auto")
        cache.engine.open_index().workers.announce("w1@a", 8)
        cache.engine.open_index().workers.announce("w2@b", 4)
        finding = found(cache)["workers"]
        assert (finding.state, finding.message) == ("ok", "2 alive with 12 threads: w1@a, w2@b")

    def test_gone(self, make_cache: MakeCache) -> None:
        cache = make_cache(dispatch="auto")
        cache.engine.open_index().workers.announce("w1@a", 8)
        age_worker(cache, "w1@a", ALIVE_SECONDS + 1)
        finding = found(cache)["workers"]
        assert (finding.state, finding.message) == ("warning", "no heartbeat from: w1@a; see their logs")


class TestSource:
    def test_objects_and_prefixes(self, cache: MediaCache, s3_server: S3Server, s3_bucket: str) -> None:
        uri = s3_server.put(s3_bucket, "a/b", b"x" * 10)
        prefix = f"s3://{s3_bucket}/a/"
        assert found(cache, uri)["source"] == CheckResult("source", "ok", f"{uri} can be read (10B)")
        assert found(cache, prefix)["source"] == CheckResult("source", "ok", f"{prefix} can be listed")
        nothing = found(cache, prefix + "c/")["source"]
        assert nothing.state == "warning"
        assert nothing.message.endswith("can be listed, but there is nothing below it")

    def test_wrong_credentials(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uri = s3_server.put(s3_bucket, "a", b"x")
        for name, value in zip(
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3_server.stranger, strict=True
        ):
            monkeypatch.setenv(name, value)
        finding = found(cache, uri)["source"]
        assert finding.state == "wrong"
        assert "access denied" in finding.message
        assert "check that they may read it" in finding.message

    def test_an_object_larger_than_the_cache(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a", b"x" * 10)
        finding = found(make_cache(cache_size_bytes=5), uri)["source"]
        assert (finding.state, finding.message) == (
            "wrong",
            f"{uri} is larger than the whole cache: 10B and 5B",
        )

    def test_a_local_path(self, cache: MediaCache, tmp_path: Path) -> None:
        assert found(cache, str(tmp_path))["source"].state == "ok"
        assert found(cache, f"{tmp_path}/none")["source"].state == "wrong"
