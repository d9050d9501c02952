"""What processes count, and how it comes together in Redis."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import redis

from forebay.cache import MediaCache
from forebay.errors import CacheFullError, ForebayError, SourceError, TransientSourceError, UriError
from forebay.index.index import Index
from forebay.metrics.catalogue import REASONS
from forebay.sources.failures import changed, interrupted, refusal, truncated
from forebay.uri import parse
from forebay.volume.counters import MAX_SOURCES, Counters, Ended, histogram
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.proxy import Fault, Proxy
from tests.servers.seaweedfs import S3Server
from tests.servers.valkey import Valkey

URI = parse("s3://photos/a.jpg")


def downloaded(uri: str = "s3://photos/a.jpg", size: int = 10) -> Ended:
    return Ended(parse(uri), "downloaded", size, first_byte=0.02, seconds=0.3)


@pytest.fixture
def index(cache: MediaCache) -> Index:
    return cache.engine.open_index()


@pytest.mark.usefixtures("s3_environment")
class TestCache:
    def test_counts_what_is_fetched_and_what_was_there(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        # Given a job of which some samples are there, some are not, and one is nowhere
        uris = s3_server.put_many(s3_bucket, {f"{n}": b"x" * 1000 for n in range(6)})
        source = f"s3://{s3_bucket}"
        cache = make_cache()
        cache.download_media(uris[:2])

        # When it has ended, and its process too
        cache.download_media([*uris, f"{source}/missing", "s3://"])
        assert cache.local_path(uris[0])
        cache.close()

        # Then the volume's counters say so
        counters = make_cache().engine.open_index().counters.read()
        assert counters[source]["objects|downloaded"] == 6
        assert counters[source]["bytes|downloaded"] == 6000
        assert counters[source]["fetched|cloud"] == 6000
        assert counters[source]["failures|not_found"] == counters[source]["objects|failed"] == 1
        assert counters[""] == {"lookups|hit": 3, "lookups|miss": 7, "hit_bytes": 1000}
        for name in ("first_byte", "object"):
            each, seconds = histogram(counters[source], name, [0.0] * 14)
            assert sum(each) == 6
            assert seconds > 0

    def test_counts_retries_by_reason(
        self, cache: MediaCache, s3_server: S3Server, s3_bucket: str, s3_proxy: Proxy, monkeypatch
    ) -> None:
        # Given a source that is too busy twice, then fails, and breaks off
        uri = s3_server.put(s3_bucket, "a", b"x" * 1000)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_proxy.endpoint)
        s3_proxy.fault(None, Fault.s3(503, "SlowDown"), times=2)
        s3_proxy.fault(None, Fault.s3(500, "InternalError"), times=1)
        # (without any answer, curl would ask again itself, on another connection)
        s3_proxy.fault(None, Fault(reset_after=100), times=1)

        cache.local_path(uri)

        counts = {name: n for (name, _), n in cache.engine.counters.counts().items() if "retries" in name}
        assert counts == {"retries|throttled": 2, "retries|server_error": 1, "retries|connection": 1}

    def test_counts_what_is_evicted_and_how_old_it_was(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        uris = s3_server.put_many(s3_bucket, {f"{n}": b"x" * 1000 for n in range(6)})
        cache = make_cache(cache_size_bytes=4000)
        cache.download_media(uris[:4])

        cache.download_media(uris[4:])

        gone = cache.engine.counters.counts()["evicted_objects", ""]
        assert gone >= 2
        assert cache.engine.counters.counts()["evicted_bytes", ""] == 1000 * gone
        assert cache.engine.counters.counts()["evicted_age|0", ""] == gone

    def test_a_heartbeat_tells_redis(
        self, make_cache: MakeCache, s3_server: S3Server, s3_bucket: str
    ) -> None:
        cache = make_cache(claim_ttl_seconds=1.0)
        cache.local_path(s3_server.put(s3_bucket, "a", b"x"))

        found = eventually(lambda: cache.engine.open_index().counters.read().get(f"s3://{s3_bucket}"))

        assert found["objects|downloaded"] == 1
        assert cache.engine.open_index().counters.download_rate() == (1 / 60, 1 / 60)


class TestMeter:
    def test_what_is_sent_twice_counts_once(self, index: Index) -> None:
        # Given a request whose answer is lost
        meter = Counters()
        meter.ended([downloaded()])
        with (
            mock.patch.object(index.connection, "script", _loses_the_answer(index)),
            pytest.raises(redis.ConnectionError),
        ):
            meter.flush(index)

        # When it is sent again, with more to tell meanwhile
        meter.ended([downloaded()])
        meter.flush(index)
        meter.flush(index)

        assert index.counters.read()["s3://photos"]["objects|downloaded"] == 2

    def test_processes_add_up(self, index: Index) -> None:
        for _ in range(3):
            meter = Counters()
            meter.ended([downloaded(size=5)])
            meter.flush(index)
        assert index.counters.read()["s3://photos"]["bytes|downloaded"] == 15

    def test_nothing_new_is_no_round_trip(self) -> None:
        Counters().flush(index=None)  # type: ignore[arg-type]

    def test_tells_a_bounded_number_of_sources_apart(self, index: Index, valkey: Valkey) -> None:
        # Given many processes, each with other sources
        for process in range(3):
            meter = Counters()
            meter.ended([downloaded(f"https://h{process}-{n}.example.com/a") for n in range(MAX_SOURCES + 9)])
            meter.flush(index)

        counters = index.counters.read()
        assert len(counters) == MAX_SOURCES + 1
        assert counters["other"]["objects|downloaded"] == 3 * (MAX_SOURCES + 9) - MAX_SOURCES

    def test_a_secret_in_a_uri_is_not_counted(self) -> None:
        meter = Counters()
        meter.ended([downloaded("https://user:secret@example.com/a?X-Amz-Signature=secret")])
        assert {source for _, source in meter.counts()} == {"https://example.com"}


class TestReasons:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (refusal(URI, 404, "NoSuchKey"), "not_found"),
            (refusal(URI, 403, "AccessDenied"), "access_denied"),
            (refusal(URI, 429), "throttled"),
            (refusal(URI, 503, "SlowDown"), "throttled"),
            (refusal(URI, 503), "server_error"),
            (refusal(URI, 412), "changed"),
            (refusal(URI, 400, "InvalidRequest"), "other"),
            (changed(URI), "changed"),
            (truncated(URI, 1, 2), "truncated"),
            (interrupted(URI, "reset"), "connection"),
            (TransientSourceError("s3://photos/a.jpg", "why", "checksum"), "checksum"),
            (CacheFullError("full"), "cache_full"),
            (UriError("bad"), "bad_uri"),
            (SourceError("s3://photos/a.jpg", "why"), "other"),
        ],
        ids=str,
    )
    def test_every_error_has_one(self, error: ForebayError, reason: str) -> None:
        assert error.kind == reason
        assert reason in REASONS


def _loses_the_answer(index: Index):
    real = index.connection.script

    def script(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise redis.ConnectionError

    return script
