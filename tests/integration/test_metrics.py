"""Metrics: what ``forebay metrics`` says of volumes, and what a worker serves."""

from __future__ import annotations

import math
import signal

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as parse

from forebay.cache import MediaCache
from forebay.index.job_records import MessageSummary
from forebay.index.workers import GONE_SECONDS
from forebay.jobs import fleet
from forebay.metrics import catalogue
from forebay.metrics.catalogue import Metric
from forebay.uri import entry_of
from tests.caches import MakeCache, age_worker
from tests.commands import Forebay
from tests.servers.embedded import cache_directory, eventually
from tests.servers.process import free_ports
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey
from tests.servers.workers import worker

pytestmark = pytest.mark.usefixtures("s3_environment")

Values = dict[tuple[str, ...], float]


def values(text: str) -> dict[str, Values]:
    """The samples of a page of metrics: by name, and by the values of their labels but the volume's,
    in the order of the labels' names."""
    found: dict[str, Values] = {}
    for family in parse(text):
        for sample in family.samples:
            labels = tuple(value for label, value in sorted(sample.labels.items()) if label != "volume")
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def names(text: str, prefix: str) -> set[str]:
    """The names of the metrics on a page, as the catalogue has them."""
    return {family.name for family in parse(text) if family.name.startswith(prefix)}


def named(*metrics: Metric) -> set[str]:
    return {metric.name for metric in metrics}


@pytest.fixture
def busy(
    make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy, monkeypatch
) -> MediaCache:
    """A cache in which everything has happened: 6 objects fetched into room for 4, one of them twice in
    vain and one in vain for ever; one hit, one lease; a message waits for a worker that has not come; a
    download has claimed an object and reserved 700 bytes."""
    uris = s3_server.put_many(s3_bucket, {f"{n}": b"x" * 1000 for n in range(6)})
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
    cache = make_cache(cache_size_bytes=4000, max_requests=1)
    cache.engine.open_session()
    s3_proxy.fault("/" + uris[0].removeprefix("s3://"), Fault.s3(503, "SlowDown"), times=2)
    cache.download_media([*uris, f"s3://{s3_bucket}/missing"])
    cache.local_path(uris[-1])
    cache.lease(uris[-1:], "1h", "run-7")
    cache.engine.open_index().workers.announce("w1@test", 8, samples=3)
    fleet.enqueue(
        cache.engine.open_dispatcher().open_app(),
        cache.config,
        "job",
        [MessageSummary(0, 1, 0, None)],
        "s3://photos",
    )
    cache.engine.counters.flush(cache.engine.open_index())
    [(_, claimed)] = cache.engine.open_session().claim([entry_of(f"s3://{s3_bucket}/7")])
    reserved = cache.engine.open_index().reservations.set(cache.engine.open_session().id, 700, 700, None)
    assert (claimed.granted, reserved.granted) == (True, 700)
    return cache


class TestVolume:
    def test_every_metric_is_exported_and_no_other(self, busy: MediaCache, forebay: Forebay) -> None:
        done = forebay("metrics")

        assert done.status == 0
        assert names(done.out, "") | {"forebay_job_progress_age_seconds"} == named(*catalogue.OF_VOLUME)

    def test_what_they_say(self, busy: MediaCache, forebay: Forebay, s3_bucket: str) -> None:
        found = values(forebay("metrics").out)

        source = f"s3://{s3_bucket}"
        assert found["forebay_objects_total"] == {("downloaded", source): 6, ("failed", source): 1}
        assert found["forebay_bytes_total"] == {("downloaded", source): 6000}
        assert found["forebay_failures_total"] == {("not_found", source): 1}
        assert found["forebay_retries_total"] == {("throttled", source): 2}
        assert found["forebay_lookups_total"] == {("hit",): 1, ("miss",): 7}
        assert found["forebay_hit_ratio"] == {(): 1 / 8}
        assert found["forebay_object_seconds_count"] == {(source,): 6}
        assert found["forebay_object_seconds_bucket"]["+Inf", source] == 6
        assert found["forebay_first_byte_seconds_sum"][source,] > 0
        assert found["forebay_cache_bytes"] == {(): 1000 * found["forebay_cache_objects"][()]}
        assert found["forebay_cache_limit_bytes"] == {(): 4000}
        assert found["forebay_evicted_objects_total"] == {(): 6 - found["forebay_cache_objects"][()]}
        assert found["forebay_evicted_age_seconds_count"] == found["forebay_evicted_objects_total"]
        assert found["forebay_leased_bytes"] == {(): 1000}
        assert found["forebay_leases"] == found["forebay_sessions"] == {(): 1}
        assert found["forebay_claims"] == {(): 1}
        assert found["forebay_reserved_bytes"] == {(): 700}
        assert found["forebay_queue_messages"] == {(): 1}
        assert found["forebay_queue_oldest_age_seconds"][()] > 0
        assert found["forebay_jobs"] == {("running",): 0, ("done",): 1, ("cancelled",): 0}
        [job] = busy.jobs()
        assert found["forebay_job_samples"] == {
            (job.id, "downloaded"): 6,
            (job.id, "cached"): 0,
            (job.id, "failed"): 1,
            (job.id, "pending"): 0,
        }
        assert found["forebay_job_bytes"] == {(job.id,): 6000}
        assert found["forebay_workers"] == {("alive",): 1, ("gone",): 0}
        assert found["forebay_worker_samples_total"] == {("w1@test",): 3}
        assert found["forebay_worker_concurrency"] == {("w1@test",): 8}

    def test_a_copy_that_is_still_current_counts_as_cached(
        self, cache: MediaCache, forebay: Forebay, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = s3_server.put_many(s3_bucket, {"a": b"x" * 1000})
        cache.download_media(uris)
        cache.download_media(uris, update=True)
        cache.engine.counters.flush(cache.engine.open_index())

        found = values(forebay("metrics").out)
        source = f"s3://{s3_bucket}"
        assert found["forebay_objects_total"] == {("downloaded", source): 1, ("cached", source): 1}
        assert found["forebay_bytes_total"] == {("downloaded", source): 1000, ("cached", source): 1000}

    def test_a_killed_worker_is_told_for_a_while(self, cache: MediaCache, forebay: Forebay) -> None:
        # Given two workers, one of which was last heard of almost ten minutes ago
        index = cache.engine.open_index()
        index.workers.announce("killed@test", 8, samples=3)
        age_worker(cache, "killed@test", GONE_SECONDS - 60)
        index.workers.announce("alive@test", 8, samples=3)

        # When the other cleans up, then it is still told, but takes no part in what is about those alive
        index.workers.forget_gone()
        found = values(forebay("metrics").out)
        assert found["forebay_workers"] == {("alive",): 1, ("gone",): 1}
        assert found["forebay_worker_progress_age_seconds"].keys() == {("alive@test",)}
        assert found["forebay_worker_seen_age_seconds"]["killed@test",] > 500

        # and a minute later it is not
        age_worker(cache, "killed@test", 61)
        index.workers.forget_gone()
        assert [worker.name for worker in index.workers.all()] == ["alive@test"]

    def test_no_limit_is_infinite(self, make_cache: MakeCache, forebay: Forebay) -> None:
        make_cache(cache_size_bytes=-1).engine.open_session()
        assert values(forebay("metrics").out)["forebay_cache_limit_bytes"] == {(): math.inf}

    def test_a_job_that_runs_and_stands_still(self, cache: MediaCache, forebay: Forebay) -> None:
        job = cache.create_job(["s3://photos/a", "s3://photos/b"])
        found = values(forebay("metrics").out)
        assert found["forebay_job_samples"][job.id, "pending"] == 2
        assert found["forebay_job_progress_age_seconds"][job.id,] >= 0

    def test_as_json(self, busy: MediaCache, forebay: Forebay) -> None:
        found = forebay("metrics", "--json").json
        assert found.keys() == {"default"}
        assert {"name": "forebay_hit_ratio", "labels": {}, "value": 1 / 8} in found["default"]

    def test_of_the_embedded_index(self, forebay: Forebay, tmp_path, s3_server, s3_bucket) -> None:
        uri = s3_server.put(s3_bucket, "a", b"x" * 10)
        with cache_directory(tmp_path / "embedded") as directory:
            settings = {"cache_dir": directory, "redis_url": None}
            assert forebay("get", uri, **settings).status == 0
            found = values(forebay("metrics", **settings).out)
        assert found["forebay_bytes_total"] == {("downloaded", f"s3://{s3_bucket}"): 10}

    def test_served_for_all_volumes_also_while_redis_is_away(
        self, make_cache: MakeCache, forebay: Forebay, valkey: Valkey, tmp_path
    ) -> None:
        # Given two volumes, and an exporter of all of them
        for name in ("node-a", "node-b"):
            make_cache(volume=name, cache_dir=str(tmp_path / name)).engine.open_session()
        [port] = free_ports()
        url = f"http://127.0.0.1:{port}/metrics"
        with forebay.started("metrics", "--volume", "all", "--serve", str(port)) as process:
            up = eventually(lambda: _asked(url))
            assert _by_volume(up, "forebay_up") == {"node-a": 1, "node-b": 1}

            # When Redis is stopped, it says so, and when it is back, that
            valkey.stop()
            assert _by_volume(_asked(url), "forebay_up") == {"node-a": 0, "node-b": 0}
            valkey.start()
            assert _by_volume(_asked(url), "forebay_up") == {"node-a": 1, "node-b": 1}

            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0

    @pytest.mark.parametrize("address", ["here", "127.0.0.1", "1:2:x", "70000"])
    def test_a_bad_address(self, forebay: Forebay, address: str) -> None:
        done = forebay("metrics", "--serve", address)
        assert done.status == 2
        assert done.err == (
            f"error: {address!r} is no address: write PORT or HOST:PORT, as 9464 or 0.0.0.0:9464\n"
        )

    def test_an_address_in_use(self, forebay: Forebay, valkey: Valkey) -> None:
        done = forebay("metrics", "--serve", str(valkey.port))
        assert done.status == 2
        assert f"error: metrics cannot be served at 127.0.0.1:{valkey.port} (" in done.err
        assert done.err.endswith("): choose another host or port\n")


class TestWorker:
    def test_serves_what_it_counted_itself(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        # Given a worker with a port for metrics
        [port] = free_ports()
        uris = s3_server.put_many(s3_bucket, {f"{n}": b"x" * 1000 for n in range(6)})
        cache = make_cache(dispatch="fleet", num_workers=2, metrics_port=port)
        with worker(cache):
            # When it works, and meanwhile another process does
            cache.download_media(uris[:4])
            make_cache().download_media(uris[4:])
            text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text

        # Then it tells its own part, and how its process is
        found = values(text)
        assert found["forebay_process_objects_total"] == {("downloaded", f"s3://{s3_bucket}"): 4}
        assert found["process_resident_memory_bytes"][()] > 1e6
        assert names(text, "forebay_") <= named(*catalogue.OF_PROCESS)

    def test_a_port_that_is_taken_keeps_it_from_nothing(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, valkey: Valkey
    ) -> None:
        cache = make_cache(dispatch="fleet", metrics_port=valkey.port)
        with worker(cache) as process:
            job = cache.download_media([s3_server.put(s3_bucket, "a", b"x")])
            assert job.downloaded == 1
            assert "; this worker runs without metrics" in process.log.read_text()


def _asked(url: str) -> str | None:
    try:
        return requests.get(url, timeout=30).text
    except requests.ConnectionError:
        return None


def _by_volume(text: str | None, name: str) -> dict[str, float]:
    assert text is not None
    return {s.labels["volume"]: s.value for f in parse(text) for s in f.samples if s.name == name}
