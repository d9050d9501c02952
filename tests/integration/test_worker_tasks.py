"""The task of a worker, called as Celery does it."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import IndexUnavailableError
from forebay_worker.presence import Presence
from forebay_worker.tasks import fetch_message
from tests.caches import MakeCache
from tests.servers.http_server import HTTPServer


@pytest.fixture
def web(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    """A cache that may fetch from the web server."""
    return make_cache(allowed_sources=[http_server.endpoint + "/"])


def begun(cache: MediaCache, job: str) -> list[int]:
    return [one.begun for one in cache.engine.open_index().jobs.summaries(job, [0])]


def test_an_outage_is_no_attempt(web: MediaCache, http_server: HTTPServer, monkeypatch: Any) -> None:
    # given a message whose samples cannot be fetched as Redis is away, more often than it may be begun
    job = web.create_job([http_server.put("/a.bin", b"pixels")])
    fetcher, error = web.engine.open_fetcher(), IndexUnavailableError("Redis cannot be reached")

    def fetch(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(fetcher, "fetch", fetch)
        for _ in range(5):
            with pytest.raises(IndexUnavailableError) as raised:
                fetch_message(web, Presence(web), job.id, 0)
            assert raised.value is error

    # then none of that counts, and the message is fetched when Redis is there again
    assert begun(web, job.id) == [0]
    assert fetch_message(web, Presence(web), job.id, 0) == "1 downloaded (6B)"


def test_an_attempt_that_cannot_be_taken_back_hides_no_error(
    web: MediaCache, http_server: HTTPServer, monkeypatch: Any
) -> None:
    job = web.create_job([http_server.put("/a.bin", b"pixels")])
    error, records = IndexUnavailableError("Redis cannot be reached"), web.engine.open_index().jobs

    def away(*_: object, **__: object) -> None:
        raise IndexUnavailableError("Redis is still away")

    def fetch(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(web.engine.open_fetcher(), "fetch", fetch)
    monkeypatch.setattr(records, "unbegin", away)

    with pytest.raises(IndexUnavailableError) as raised:
        fetch_message(web, Presence(web), job.id, 0)

    assert raised.value is error
