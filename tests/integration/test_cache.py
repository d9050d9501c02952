"""The operations of MediaCache, on a real S3 server."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.errors import (
    AccessDeniedError,
    CacheFullError,
    DownloadError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    UriError,
)
from forebay.fetch.outcome import SampleOutcome
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")


def objects(server: S3Server, bucket: str, count: int, size: int = 1000) -> list[str]:
    return server.put_many(bucket, {f"images/{n:04}.jpg": bytes([n % 251]) * size for n in range(count)})


class TestLocalPath:
    def test_downloads_what_is_missing_and_keeps_its_name(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a/b c.jpg", b"pixels")

        path = cache.local_path(uri)

        assert Path(path).read_bytes() == b"pixels"
        assert path == f"{cache.config.cache_dir}/media/s3/{s3_bucket}/a/b c.jpg"

    def test_a_hit_asks_neither_the_source_nor_redis(
        self, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a.jpg", b"pixels")
        path = make_cache().local_path(uri)
        requests = len(proxied.requests)
        other = make_cache(redis_url="redis://127.0.0.1:1/0")

        assert other.local_path(uri) == path

        assert len(proxied.requests) == requests

    def test_a_local_path_is_returned_as_it_is(self, cache: MediaCache) -> None:
        assert cache.local_path("/data/a.jpg") == "/data/a.jpg"
        assert cache.local_path("relative/a.jpg") == "relative/a.jpg"
        assert cache.local_path("file:///data/a%20b.jpg") == "/data/a b.jpg"
        assert not cache.engine.is_open

    def test_a_missing_object_is_said_to_be_missing(self, cache: MediaCache, s3_bucket: str) -> None:
        with pytest.raises(ObjectNotFoundError, match=rf"s3://{s3_bucket}/none\.jpg: .*"):
            cache.local_path(f"s3://{s3_bucket}/none.jpg")
        assert cache.engine.open_index().claims.all() == {}

    def test_an_unknown_scheme_is_refused(self, cache: MediaCache) -> None:
        with pytest.raises(UriError, match="has the scheme 'ftp', which Forebay cannot fetch"):
            cache.local_path("ftp://host/a.jpg")

    def test_a_key_and_a_key_below_it_live_side_by_side(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        file = s3_server.put(s3_bucket, "a", b"file")
        below = f"s3://{s3_bucket}/a/b"
        # SeaweedFS keeps keys as files, so the second object comes from elsewhere: the mapping is ours.
        path = cache.local_path(file)
        entry_dir = Path(cache.engine.files.layout().alternate_path(f"s3/{s3_bucket}/a/b"))
        entry_dir.parent.mkdir(parents=True)
        entry_dir.write_bytes(b"below")

        assert Path(path).read_bytes() == b"file"
        assert Path(cache.local_path(below)).read_bytes() == b"below"

    def test_a_file_that_was_removed_by_hand_is_downloaded_again(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a.jpg", b"pixels")
        os.unlink(cache.local_path(uri))

        assert Path(cache.local_path(uri)).read_bytes() == b"pixels"

        assert cache.stats()["current_count"] == 1
        assert cache.stats()["current_size"] == 6

    def test_an_open_file_stays_readable_when_it_is_cleared(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uri = s3_server.put(s3_bucket, "a.jpg", b"pixels")

        with cache.open(uri) as file:
            cache.clear()
            assert file.read() == b"pixels"


class TestDownloadMedia:
    def test_counts_what_it_did_and_downloads_nothing_twice(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 100)

        first = cache.download_media(uris).status()
        requests = len(proxied.requests)
        second = cache.download_media(uris).status()

        assert (first.state, first.downloaded, first.cached, first.bytes) == ("done", 100, 0, 100_000)
        assert (second.state, second.downloaded, second.cached, second.bytes) == ("done", 0, 100, 0)
        assert len(proxied.requests) == requests

    def test_the_same_sample_twice_is_downloaded_once(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str, tmp_path: Path
    ) -> None:
        uri = s3_server.put(s3_bucket, "a.jpg", b"pixels")
        local = tmp_path / "local.jpg"
        local.write_bytes(b"here")

        status = cache.download_media([uri, str(local), uri]).status()

        assert (status.total, status.downloaded, status.cached) == (3, 1, 2)
        assert proxied.count("GET") == 1

    def test_a_local_file_that_is_not_there_fails(self, cache: MediaCache) -> None:
        job = cache.download_media(["/no/such/file.jpg"])

        assert job.status().failed == 1
        assert job.failures()[0].reason == "there is no such local file"

    def test_update_downloads_only_what_has_changed(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 10)
        cache.download_media(uris)
        s3_server.put(s3_bucket, "images/0003.jpg", b"new pixels")
        sent = sum(request.sent for request in proxied.requests)

        status = cache.download_media(uris, update=True).status()

        assert (status.downloaded, status.cached, status.bytes) == (1, 9, 10)
        assert Path(cache.local_path(uris[3])).read_bytes() == b"new pixels"
        assert sum(request.sent for request in proxied.requests) - sent == 10
        assert cache.stats()["current_size"] == 9 * 1000 + 10

    def test_an_update_without_an_etag_goes_by_size_and_time(
        self, cache: MediaCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 4)
        cache.download_media(uris)
        # Redis is emptied: what the volume holds is indexed again, but nobody remembers the etags.
        cache.engine.open_index().connection.command("flushall")
        cache.close()

        status = cache.download_media(uris, update=True).status()

        assert (status.downloaded, status.cached) == (0, 4)

    def test_failures_are_listed_with_reason_and_attempts(
        self, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(max_attempts=2)
        uris = objects(s3_server, s3_bucket, 3)
        proxied.fault(f"/{s3_bucket}/images/0001.jpg", Fault(status=503))
        missing = f"s3://{s3_bucket}/none.jpg"

        job = cache.download_media([*uris, missing, "ftp://host/x"])

        status, failures = job.status(), {failure.uri: failure for failure in job.failures()}
        assert (status.downloaded, status.failed, status.pending) == (2, 3, 0)
        assert failures[missing].attempts == 1
        assert failures[uris[1]].attempts == 2
        assert "503" in failures[uris[1]].reason
        assert "has the scheme 'ftp'" in failures["ftp://host/x"].reason

    def test_retry_tries_only_what_failed(
        self, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(max_attempts=1)
        uris = objects(s3_server, s3_bucket, 10)
        path = f"/{s3_bucket}/images/0004.jpg"
        proxied.fault(path, Fault(status=403), times=1)
        job = cache.download_media(uris)
        assert job.status().failed == 1
        requests = len(proxied.requests)

        job.retry()

        assert [request.path for request in proxied.requests[requests:]] == [path]
        assert (job.status().downloaded, job.status().failed) == (10, 0)
        assert job.failures() == []

    def test_without_skip_failures_the_first_one_raises_and_names_the_sample(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        missing = f"s3://{s3_bucket}/none.jpg"

        with pytest.raises(DownloadError, match=r"none\.jpg"):
            cache.download_media([missing], skip_failures=False)

    def test_a_job_is_seen_from_another_program(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        job = make_cache().download_media(objects(s3_server, s3_bucket, 5))

        other = make_cache()

        assert other.job(job.id).status().downloaded == 5
        assert [status.id for status in other.jobs()] == [job.id]

    def test_a_cancelled_job_can_be_gone_on_with(
        self, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(num_workers=1)
        uris = objects(s3_server, s3_bucket, 300)
        proxied.fault(f"/{s3_bucket}/images/0001.jpg", Fault(delay=1.5))

        job = cache.download_media(uris, wait=False)
        job.cancel()

        assert job.wait().status().state == "cancelled"
        job.retry()
        assert job.status().state == "done"
        assert cache.stats()["current_count"] == 300

    def test_what_pauses_between_attempts_is_not_tried_again_by_a_cancelled_job(
        self, make_cache: MakeCache, proxied: Proxy, s3_server: S3Server, s3_bucket: str
    ) -> None:
        # Given a job whose samples failed for now, and may be tried a hundred times
        proxied.fault(None, Fault(status=500))
        cache = make_cache(max_attempts=100)
        uris, is_cancelled = objects(s3_server, s3_bucket, 3), threading.Event()
        outcomes: list[SampleOutcome] = []
        fetch = threading.Thread(
            target=cache.engine.open_fetcher().fetch,
            args=(enumerate(uris), outcomes.extend),
            kwargs={"cancelled": is_cancelled.is_set},
        )
        fetch.start()
        eventually(lambda: proxied.count("GET") >= 6)

        # When it is cancelled, then it ends, and none of them has failed.
        is_cancelled.set()
        fetch.join(20)
        assert not fetch.is_alive()
        assert outcomes == []


class TestGetLocalPaths:
    def test_gives_one_path_for_each_uri_in_order(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 3)

        paths = cache.get_local_paths([uris[2], "/data/x.jpg", uris[0]])

        assert [Path(p).name for p in paths] == ["0002.jpg", "x.jpg", "0000.jpg"]
        assert Path(paths[0]).exists()

    def test_downloads_nothing_when_it_is_told_not_to(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        [path] = cache.get_local_paths(objects(s3_server, s3_bucket, 1), download=False)

        assert path.endswith(f"/media/s3/{s3_bucket}/images/0000.jpg")
        assert not Path(path).exists()

    def test_says_how_many_are_left_of_a_set_that_is_larger_than_the_cache(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        uris = objects(s3_server, s3_bucket, 10)

        paths = make_cache(cache_size_bytes=5000).get_local_paths([*uris, f"{uris[0]}.missing", "/dev/null"])

        there = sum(os.path.exists(path) for path in paths[:10])
        assert there <= 5
        [warning] = [r.getMessage() for r in caplog.records if "still cached" in r.getMessage()]
        assert warning.startswith(
            f"only {there} of 11 files are still cached: the cache holds 4.9KB, so earlier files were "
        )
        assert "download_context()" in warning

    @pytest.mark.parametrize("count", [5, 0])
    def test_says_nothing_of_a_set_that_fits(
        self,
        make_cache: MakeCache,
        s3_server: S3Server,
        s3_bucket: str,
        caplog: pytest.LogCaptureFixture,
        count: int,
    ) -> None:
        uris = objects(s3_server, s3_bucket, count)

        make_cache(cache_size_bytes=5000).get_local_paths([*uris, f"s3://{s3_bucket}/missing", "ftp://a/b"])

        assert "still there" not in caplog.text


class TestStatsAndClear:
    def test_stats_tell_how_full_the_cache_is(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(cache_size_bytes=100_000)
        uris = objects(s3_server, s3_bucket, 5)
        cache.download_media(uris)

        assert cache.stats() == {
            "cache_dir": cache.config.cache_dir,
            "cache_size": 100_000,
            "cache_size_str": "97.7KB",
            "current_size": 5000,
            "current_size_str": "4.9KB",
            "current_count": 5,
            "load_factor": 0.05,
        }
        assert cache.stats(uris[:2])["current_size"] == 2000

    def test_clear_removes_what_it_is_given_and_leaves_no_empty_directory(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 5)
        cache.download_media(uris)

        assert cache.clear(uris[:2]) == 2
        assert cache.stats()["current_count"] == 3
        assert cache.clear() == 3

        assert cache.stats()["current_size"] == 0
        assert os.listdir(cache.engine.files.layout().media_dir) == []

    def test_clear_spares_what_is_leased_unless_forced(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 3)
        cache.download_media(uris)

        with cache.lease(uris[:1], ttl=60):
            assert cache.clear() == 2
            assert cache.clear(force=True) == 1
        assert cache.stats()["current_count"] == 0


class TestFull:
    def test_an_object_larger_than_the_cache_is_refused_before_it_is_downloaded(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(cache_size_bytes=5000)
        uri = s3_server.put(s3_bucket, "large.bin", b"x" * 5001)

        with pytest.raises(ObjectTooLargeError) as caught:
            cache.local_path(uri)

        assert str(caught.value) == (
            f"{uri}: its 4.9KB are more than the whole cache of 4.9KB; raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
        )
        assert (caught.value.size, caught.value.limit) == (5001, 5000)

    def test_a_cache_full_of_leased_entries_fails_at_once_and_says_who_holds_it(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(cache_size_bytes=5000)
        uris = objects(s3_server, s3_bucket, 6)
        cache.download_media(uris[:5])

        with cache.lease(uris[:5], ttl=60, name="training"), pytest.raises(CacheFullError) as caught:
            cache.local_path(uris[5])

        assert str(caught.value) == (
            f"{uris[5]}: no room for 1000B in a cache of 4.9KB: leases (training) hold 4.9KB; "
            "end a lease, or raise FIFTYONE_MEDIA_CACHE_SIZE_BYTES"
        )
        assert (caught.value.needed, caught.value.limit, caught.value.held) == (1000, 5000, 5000)
        assert Path(cache.local_path(uris[5])).exists()

    def test_wrong_credentials_are_said_to_be_wrong(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        uri = s3_server.put(s3_bucket, "a.jpg", b"pixels")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

        with pytest.raises(AccessDeniedError):
            cache.local_path(uri)


class TestDownloadContext:
    def test_goes_through_a_set_ten_times_as_large_as_the_cache(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(cache_size_bytes=20_000)
        uris = objects(s3_server, s3_bucket, 200)

        with cache.download_context(uris) as paths:
            read = [Path(path).read_bytes()[0] for path in paths]

        assert read == [n % 251 for n in range(200)]
        assert cache.stats()["current_size"] <= 20_000
        assert cache.engine.open_index().leases.all() == []
        assert cache.jobs() == []

    def test_clear_leaves_nothing_behind(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 40)

        assert sum(1 for _ in cache.download_context(uris, batch_size=8, clear=True)) == 40

        assert cache.stats()["current_count"] == 0

    def test_a_loop_that_is_left_early_ends_its_leases(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 40)

        with cache.download_context(uris, batch_size=4) as paths:
            for path in paths:
                assert Path(path).exists()
                break

        assert cache.engine.open_index().leases.all() == []

    def test_samples_that_fail_keep_their_place(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = objects(s3_server, s3_bucket, 3)
        uris.insert(1, f"s3://{s3_bucket}/none.jpg")

        context = cache.download_context(uris)
        paths = list(context)

        assert [Path(path).exists() for path in paths] == [True, False, True, True]
        assert [uri for uri, _ in context.failures] == [uris[1]]
        with pytest.raises(ObjectNotFoundError):
            list(cache.download_context(uris, skip_failures=False))

    def test_progress_tells_how_far_the_loop_is(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        seen: list[tuple[int, int]] = []

        list(
            cache.download_context(
                objects(s3_server, s3_bucket, 3), progress=lambda s: seen.append((s.total, s.pending))
            )
        )

        assert seen == [(3, 2), (3, 1), (3, 0)]
