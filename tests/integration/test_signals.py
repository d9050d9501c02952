"""Handlers of signals that raise, and that use the cache themselves, whatever they interrupt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ForebayError, SourceError
from forebay.fetch.transfer import Transfer
from forebay.index.connection import Connection
from forebay.volume.reservation import ReservationPool
from tests.caches import MakeCache
from tests.servers.scripted import Answer, scripted


@pytest.fixture
def handle() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Sets what the handler of SIGUSR1 does."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda function: signal.signal(signal.SIGUSR1, lambda *_: function()) and None
    signal.signal(signal.SIGUSR1, before)


def interrupt_main() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGUSR1)


class Interrupting:
    """Calls a function, and interrupts the main thread before it does so for the first time."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.has_interrupted = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if not self.has_interrupted:
            self.has_interrupted = True
            interrupt_main()
            # Where the main thread calls this, its handler has run when this step is done.
            threading.Event().wait(0.01)
        return self.function(*arguments, **options)


def interrupt(monkeypatch: pytest.MonkeyPatch, kind: type, name: str) -> Interrupting:
    """Has a method of a class interrupt the main thread."""
    interrupting = Interrupting(getattr(kind, name))

    def method(*given: Any, **options: Any) -> Any:
        return interrupting(*given, **options)

    monkeypatch.setattr(kind, name, method)
    return interrupting


class AlarmError(ForebayError):
    """What a program's own handler may raise; it looks like one of ours."""


@pytest.fixture
def url() -> Iterator[str]:
    """A server whose object ``interrupting`` interrupts the main thread, and waits until it is let go."""
    let_go = threading.Event()

    def get(answer: Answer) -> None:
        if answer.path.startswith("/interrupting"):
            answer.begin(200, 2000)
            answer.wfile.write(b"x" * 1000)
            answer.wfile.flush()
            interrupt_main()
            let_go.wait(3)
            answer.wfile.write(b"x" * 1000)
        else:
            answer.send(200, b"x" * 100)

    with scripted(get) as url:
        yield url
    let_go.set()


@pytest.mark.parametrize(
    "error", [TimeoutError, OSError, SourceError, AlarmError, KeyboardInterrupt, ValueError]
)
def test_an_error_of_a_handler_is_no_samples_failure(
    make_cache: MakeCache, url: str, handle: Any, error: type[BaseException]
) -> None:
    # given a handler that raises in the middle of a download
    cache = make_cache(allowed_sources=[url])
    raised = error("s3://bucket/a", "too late") if error is SourceError else error("too late")

    def fail() -> None:
        raise raised

    handle(fail)

    # when a file is asked for
    with pytest.raises(error) as caught:
        cache.local_path(f"{url}interrupting")

    # then the caller has that very error, and nothing is left of the download
    assert caught.value is raised
    assert cache.engine.files.temporaries() == []
    cache.engine.open_session().release_unused()
    assert cache.engine.open_index().entries.totals().reserved == 0
    assert cache.engine.open_index().claims.all() == {}
    handle(lambda: None)
    assert Path(cache.local_path(f"{url}interrupting")).stat().st_size == 2000


@pytest.mark.parametrize(("kind", "name"), [(Transfer, "_send"), (Transfer, "_ask"), (Connection, "script")])
def test_an_error_of_a_handler_is_none_of_the_step_that_it_interrupts(
    make_cache: MakeCache, url: str, handle: Any, monkeypatch: pytest.MonkeyPatch, kind: type, name: str
) -> None:
    # given a handler that raises what a disk or a connection raises, too, at a step that expects these
    cache = make_cache(allowed_sources=[url])
    cache.engine.open_session()

    def fail() -> None:
        raise TimeoutError("too late")

    handle(fail)
    interrupting = interrupt(monkeypatch, kind, name)

    # when a file is asked for, then the caller has that error
    with pytest.raises(TimeoutError, match="too late"):
        cache.local_path(f"{url}a")
    assert interrupting.has_interrupted


@pytest.mark.parametrize("call", ["lstat", "utime"])
def test_an_error_of_a_handler_is_no_problem_of_the_disk(
    make_cache: MakeCache, url: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    # given a file that is cached
    cache = make_cache(allowed_sources=[url])
    cache.local_path(f"{url}a")

    def interrupted(*_: object, **__: object) -> None:
        raise TimeoutError("too late")

    monkeypatch.setattr(os, call, interrupted)

    # when a handler raises while it is looked up, then the caller has its error
    with pytest.raises(TimeoutError, match="too late"):
        cache.local_path(f"{url}a")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ReservationPool, "reserve"),
        (ReservationPool, "commit"),
        (ReservationPool, "_set"),
    ],
)
def test_a_handler_may_use_the_cache_in_the_middle_of_a_download(
    make_cache: MakeCache, url: str, handle: Any, monkeypatch: pytest.MonkeyPatch, kind: type, name: str
) -> None:
    # given a handler that downloads, and comes while a download of the main thread is at some step
    cache = make_cache(allowed_sources=[url])
    cache.engine.open_session()
    paths: list[str] = []
    handle(lambda: paths.append(cache.local_path(f"{url}handler")))
    interrupting = interrupt(monkeypatch, kind, name)

    # when the main thread downloads
    path = cache.local_path(f"{url}main")

    # then both have their files
    assert interrupting.has_interrupted
    assert [Path(found).stat().st_size for found in (path, *paths)] == [100, 100]


@pytest.mark.parametrize("operation", ["stats", "clear", "evict", "download", "contents", "lease"])
def test_a_handler_may_use_the_cache_in_the_middle_of_anything(
    make_cache: MakeCache, url: str, handle: Any, operation: str
) -> None:
    # given a handler that downloads, and comes while a lock is held
    cache = make_cache(allowed_sources=[url])
    operations: dict[str, Callable[[MediaCache], object]] = {
        "stats": lambda cache: cache.stats(),
        "clear": lambda cache: cache.clear(force=True),
        "evict": lambda cache: cache.evict(0),
        "download": lambda cache: cache.download_media([f"{url}{number}" for number in range(3)]),
        "contents": lambda cache: list(cache.contents()),
        "lease": lambda cache: cache.lease([f"{url}a"], 60).end(),
    }
    cache.local_path(f"{url}a")
    read: list[int] = []
    # Opened, as what it downloads may be removed at once.
    handle(lambda: read.append(len(cache.open(f"{url}handler").read())))
    pool = cache.engine.open_index().connection.redis.connection_pool
    interrupting = pool.get_connection = Interrupting(pool.get_connection)

    # when the main thread does something, then both come to an end
    operations[operation](cache)
    assert interrupting.has_interrupted
    assert read == [100]


def test_a_handler_that_comes_while_the_cache_is_opened_opens_no_other_session(
    make_cache: MakeCache, url: str, handle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(allowed_sources=[url])
    handle(lambda: cache.local_path(f"{url}handler"))
    interrupting = interrupt(monkeypatch, Connection, "check")

    cache.local_path(f"{url}main")

    assert interrupting.has_interrupted
    assert len(cache.engine.open_index().sessions.all()) == 1


def test_in_other_threads_nothing_runs_aside(make_cache: MakeCache, url: str) -> None:
    cache = make_cache(allowed_sources=[url])
    names: list[str] = []
    real = cache.engine.open_fetcher().fetch

    def fetch() -> None:
        real([(0, f"{url}a")], lambda _: names.append(threading.current_thread().name))

    thread = threading.Thread(target=fetch, name="mine")
    thread.start()
    thread.join()

    assert names == ["mine"]
