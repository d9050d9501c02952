"""How a fetch ends that cannot go on: nothing of it is left, and what it gave up can be fetched again."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from forebay.backoff import Backoff
from forebay.errors import ForebayError, IndexUnavailableError, ObjectNotFoundError
from forebay.fetch.outcome import SampleOutcome
from forebay.fetch.transfer import Transfer
from forebay.index import Download, Entry, connection
from forebay.uri import entry_of
from tests.caches import MakeCache
from tests.servers.embedded import eventually
from tests.servers.scripted import Answer, scripted
from tests.servers.valkey import Valkey


class Held:
    """Answers whose second half comes when it is let go."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self, answer: Answer) -> None:
        answer.begin(200, 2000)
        answer.wfile.write(b"x" * 1000)
        answer.wfile.flush()
        self.began.set()
        self.go.wait(60)
        answer.wfile.write(b"x" * 1000)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()


@pytest.fixture
def url(held: Held) -> Iterator[str]:
    """A server whose objects below ``held/`` come in halves; those below ``missing/`` are not there."""

    def get(answer: Answer) -> None:
        if answer.path.startswith("/held"):
            held(answer)
        elif answer.path.startswith("/missing"):
            held.began.set()
            held.go.wait(60)
            answer.send(404)
        else:
            answer.send(200, b"x" * 100)

    with scripted(get) as url:
        yield url


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of Redis are given up soon."""
    monkeypatch.setattr(connection.Connection.__init__, "__defaults__", (None, 0.5))
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 1.0)


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except ForebayError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def open_files() -> list[str]:
    """The paths of the files that this process has open, removed ones among them."""
    paths = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            paths.append(os.readlink(f"/proc/self/fd/{name}"))
    return paths


def test_a_cancelled_fetch_ends_although_its_claim_was_lost(
    make_cache: MakeCache, held: Held, url: str
) -> None:
    cache, is_cancelled = make_cache(allowed_sources=[url]), threading.Event()
    outcomes: list[SampleOutcome] = []
    thread, errors = in_thread(
        lambda: cache.engine.open_fetcher().fetch(
            [(0, f"{url}held/a")], outcomes.extend, cancelled=is_cancelled.is_set
        )
    )
    assert held.began.wait(30)
    is_cancelled.set()

    # when another process ends its session, as after a pause that was too long, and then its bytes come
    cache.engine._open().recovery.reap(cache.engine.open_session().id)
    held.go.set()

    thread.join(30)
    assert not thread.is_alive()
    assert (outcomes, errors) == ([], [])


def test_a_job_whose_process_closes_the_cache_is_resumed(make_cache: MakeCache, held: Held, url: str) -> None:
    cache = make_cache(allowed_sources=[url], dispatch="local")
    job = cache.download_media([f"{url}held/{number}" for number in range(5)], wait=False)
    assert held.began.wait(30)

    cache.close()

    held.go.set()
    other = make_cache(allowed_sources=[url]).job(job.id)
    assert (other.failed, other.pending) == (0, 5)
    assert other.wait().downloaded == 5


@pytest.mark.usefixtures("impatient")
def test_after_an_outage_everything_can_be_fetched_again(
    make_cache: MakeCache, valkey: Valkey, held: Held, url: str
) -> None:
    # Given a fetch of which some have failed and some are under way when Redis goes away
    cache = make_cache(allowed_sources=[url])
    uris = [f"{url}missing/a", *(f"{url}held/{number}" for number in range(10))]
    thread, errors = in_thread(lambda: cache.engine.open_fetcher().fetch(enumerate(uris), lambda _: None))
    assert held.began.wait(30)
    valkey.pause()

    # When the fetch notices
    held.go.set()
    thread.join(60)
    valkey.resume()

    # Then it says so, and leaves no file and no bytes behind,
    assert [type(error) for error in errors] == [IndexUnavailableError]
    assert [path for path in open_files() if path.startswith(cache.config.cache_dir)] == []
    assert list(cache.engine.files.temporaries()) == []
    # and all of it can be fetched, by this process and by others.
    for number in range(10):
        assert Path(cache.local_path(f"{url}held/{number}")).stat().st_size == 2000
    other = make_cache(allowed_sources=[url])
    with pytest.raises(ObjectNotFoundError):
        other.local_path(f"{url}missing/a")
    cache.engine.open_session().release_unused()
    assert cache.engine.open_index().entries.totals().reserved == 0


@pytest.mark.usefixtures("impatient")
def test_a_claim_that_could_not_be_given_back_is_given_back_later(
    make_cache: MakeCache, valkey: Valkey, held: Held, url: str
) -> None:
    cache = make_cache(allowed_sources=[url], claim_ttl_seconds=4)
    thread, errors = in_thread(lambda: cache.local_path(f"{url}missing/a"))
    assert held.began.wait(30)
    valkey.pause()
    held.go.set()
    thread.join(60)
    valkey.resume()
    assert len(errors) == 1

    # by the heartbeat: nothing asks for that entry in this process
    eventually(lambda: cache.engine.open_index().claims.all() == {}, 30)


def test_a_process_does_not_take_the_claims_of_its_own_evictor(make_cache: MakeCache, url: str) -> None:
    cache = make_cache(allowed_sources=[url])
    cache.local_path(f"{url}a")
    session, entry = cache.engine.open_session(), entry_of(f"{url}a")
    token = session.evictor_token()
    session.claim_to_evict([entry], token)

    [(_, answer)] = session.claim([entry], always=True)

    assert (answer.granted, answer.holder) == (False, token)
    assert cache.engine.open_index().claims.all() == {entry: token}

    # but those that an outage left are taken
    session.disown(token)
    assert session.claim([entry], always=True)[0][1].granted


def test_what_waits_for_room_when_its_request_fails_is_begun_once(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a cache that another process has filled with a reservation, a request that times out while it
    # waits for room, and a pause before the next attempt
    asked, has_failed, failed = [], threading.Event(), Transfer._failed

    def note(self: Transfer, error: BaseException) -> object:
        step = failed(self, error)
        has_failed.set()
        return step

    def get(answer: Answer) -> None:
        asked.append(answer.path)
        if len(asked) == 2:
            # Longer than the pause: an attempt that is begun after it comes beside this one.
            threading.Event().wait(1.5)
        answer.send(200, b"x" * 8000)

    monkeypatch.setattr(Transfer, "_failed", note)
    monkeypatch.setattr("forebay.fetch.transfer.retry_pauses", lambda: Backoff(0.5, 0.5))
    with scripted(get) as url:
        busy = make_cache(cache_size_bytes=10_000).engine.open_session()
        reservation = busy.reservation(f"{busy.id}.1")
        assert reservation.grow(9000) is None
        cache = make_cache(cache_size_bytes=10_000, allowed_sources=[url], total_timeout_seconds=3)
        thread, errors = in_thread(lambda: cache.local_path(f"{url}a"))

        # When room comes within that pause
        assert has_failed.wait(30)
        reservation.close()
        busy.release_unused()
        thread.join(30)

        # Then one further attempt is made, not two beside each other, and no file of one is left open.
        assert (errors, len(asked)) == ([], 2)
        assert [path for path in open_files() if path.startswith(cache.config.cache_dir)] == []


def test_a_commit_whose_answer_was_lost_is_sent_again_and_answered_alike(make_cache: MakeCache) -> None:
    session, index = (cache := make_cache()).engine.open_session(), cache.engine.open_index()
    [(token, _)] = session.claim(["http/host/a"])
    assert session.reservation(token).grow(1000) is None
    download = Download("http/host/a", token, 1000, 1.0, Entry(1000, '"etag"', 1).format())

    first, again = (index.claims.commit(session.id, [download]) for _ in range(2))

    assert first == again
    assert first[0] == [True]
    assert index.entries.totals().published == 1000


def test_a_commit_without_a_claim_publishes_nothing(make_cache: MakeCache) -> None:
    session, index = (cache := make_cache()).engine.open_session(), cache.engine.open_index()
    download = Download("http/host/a", f"{session.id}.1", 1000, 1.0, Entry(1000, '"etag"', 1).format())

    assert index.claims.commit(session.id, [download]) == ([False], 0)
    assert index.entries.totals().published == 0


def test_a_claim_that_is_lost_at_the_last_moment_has_its_object_fetched_again(
    make_cache: MakeCache, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a Redis that has forgotten the claim when the file is complete
    cache = make_cache(allowed_sources=[url])
    session, lost = cache.engine.open_session(), iter([True])
    commit = session.commit

    def late(done: Sequence[Download]) -> list[bool]:
        if next(lost, False):
            cache.engine.open_index().claims.release([(one.entry, one.token) for one in done])
        return commit(done)

    monkeypatch.setattr(session, "commit", late)

    assert Path(cache.local_path(f"{url}one.bin")).read_bytes() == b"x" * 100
