"""Index and disk are brought back together after a crash, while the cache serves."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.uri import entry_of
from forebay.volume.session import clock
from tests.caches import MakeCache, maintain
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey


@pytest.fixture
def uris(http_server: HTTPServer) -> list[str]:
    return [http_server.put(f"/{n:03}.bin", f"{n:03}".encode() * 400) for n in range(40)]


@pytest.fixture
def settings(http_server: HTTPServer) -> dict[str, object]:
    return {"allowed_sources": [http_server.endpoint + "/"]}


def reconciled(cache: MediaCache) -> None:
    maintain(cache)


def downloads(server: HTTPServer) -> int:
    return sum(1 for request in server.requests if request.method == "GET")


def test_processes_that_start_together_on_a_new_volume_do_not_stop_one_another(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a process that looks at the disk, whose index another process recovers meanwhile
    first, second = make_cache(), make_cache()
    replace, at_the_same_time = os.replace, iter([second.engine.open_index])

    def late(source: str, place: str) -> None:
        for open_index in at_the_same_time:
            open_index()
        replace(source, place)

    monkeypatch.setattr("forebay.volume.disk.os.replace", late)

    # then both can write
    assert first.engine.open_index().entries.totals() == second.engine.open_index().entries.totals()


class TestRedisStartedEmpty:
    def test_what_lies_on_the_volume_is_served_and_not_downloaded_again(
        self, make_cache: MakeCache, valkey: Valkey, http_server: HTTPServer, uris: list[str], settings: dict
    ) -> None:
        cache = make_cache(**settings)
        cache.download_media(uris)

        valkey.restart(empty=True)
        status = cache.download_media(uris).status()

        assert (status.downloaded, status.failed) == (0, 0)
        assert downloads(http_server) == 40

    def test_the_limit_holds_before_the_files_are_indexed_again(
        self, make_cache: MakeCache, valkey: Valkey, uris: list[str], settings: dict
    ) -> None:
        cache = make_cache(cache_size_bytes=24_000, **settings)
        cache.download_media(uris[:20])
        media = Path(cache.engine.files.layout().media_dir)

        valkey.restart(empty=True)
        totals_before = make_cache(cache_size_bytes=24_000, **settings).engine.open_index().entries.totals()
        cache.download_media(uris[20:30])

        assert totals_before.unindexed + totals_before.published == 24_000
        assert sum(p.stat().st_size for p in media.rglob("*.bin")) <= 24_000
        assert all(cache.engine.files.locate(entry_of(uri)) for uri in uris[20:30])

    def test_the_order_of_use_survives(
        self, make_cache: MakeCache, valkey: Valkey, uris: list[str], settings: dict
    ) -> None:
        cache = make_cache(cache_size_bytes=12_000, max_requests=1, **settings)
        cache.download_media(uris[:10])
        cache.local_path(uris[0])

        valkey.restart(empty=True)
        reconciled(cache)
        cache.local_path(uris[10])

        gone = [n for n in range(10) if cache.engine.files.locate(entry_of(uris[n])) is None]
        assert gone == [1, 2]


class TestDeadProcess:
    def test_a_file_that_was_published_and_not_committed_is_kept(
        self, make_cache: MakeCache, http_server: HTTPServer, uris: list[str], settings: dict
    ) -> None:
        # Given a process that dies between the rename and the commit.
        child = os.fork()
        if child == 0:
            doomed = make_cache(**settings)
            doomed.engine.open_session().commit = lambda done: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment, misc]
            doomed.local_path(uris[0])
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL

        # When another asks for the same object, it need not wait for the claim to expire.
        cache = make_cache(**settings)
        path = cache.local_path(uris[0])

        assert Path(path).read_bytes() == b"000" * 400
        assert downloads(http_server) == 1
        reconciled(cache)
        totals = cache.engine.open_index().entries.totals()
        assert (totals.published, totals.count) == (1200, 1)
        cache.engine.open_session().release_unused()
        assert cache.engine.open_index().entries.totals().reserved == 0

    def test_an_evictor_that_died_half_way_is_cleaned_up_after(
        self, make_cache: MakeCache, uris: list[str], settings: dict
    ) -> None:
        cache = make_cache(cache_size_bytes=12_000, **settings)
        cache.download_media(uris[:10])
        child = os.fork()
        if child == 0:
            doomed = make_cache(cache_size_bytes=12_000, **settings)
            doomed.engine.open_index().commit_victims = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment, misc]
            doomed.engine.open_evictor().evict(3000)
            os._exit(1)
        os.waitpid(child, 0)

        reconciled(cache)

        assert cache.engine.open_index().claims.all() == {}
        assert cache.engine.open_index().entries.totals().published == 12_000 - 3 * 1200


class TestPausedProcess:
    def test_a_late_owner_cannot_publish_over_its_successor(
        self, make_cache: MakeCache, http_server: HTTPServer, uris: list[str], settings: dict
    ) -> None:
        # Given a process that has a claim and a partial file, and is then taken for dead.
        late = make_cache(**settings).engine
        entry = entry_of(uris[0])
        [(token, answer)] = late.open_session().claim([entry])
        assert answer.granted
        partial = Path(late.files.temporary(token))
        partial.write_bytes(b"old bytes")
        late.open_index().connection.command(
            "zadd", late.open_index().keys.sessions, {late.open_session().id: 1}
        )

        # When another takes over,
        cache = make_cache(**settings)
        path = Path(cache.local_path(uris[0]))

        # then the late owner has nothing left that it could publish, and no claim to commit.
        assert not partial.exists()
        with pytest.raises(FileNotFoundError):
            os.rename(partial, path)
        from forebay.index import Download

        late_download = Download(entry, token, 9, 0.0, "9||0")
        assert late.open_session().commit([late_download]) == [False]
        assert path.read_bytes() == b"000" * 400

    def test_its_own_clock_tells_it_that_its_claims_are_void(
        self, make_cache: MakeCache, uris: list[str], settings: dict
    ) -> None:
        session = make_cache(claim_ttl_seconds=1, **settings).engine.open_session()
        [(token, _)] = session.claim([entry_of(uris[0])])
        assert session.owns(token)

        session.deadline = clock() - 0.001

        assert not session.owns(token)


class TestByHand:
    def test_files_removed_by_hand_are_dropped_from_the_index(
        self, make_cache: MakeCache, uris: list[str], settings: dict
    ) -> None:
        cache = make_cache(**settings)
        for path in cache.get_local_paths(uris)[:10]:
            os.unlink(path)

        reconciled(cache)

        assert cache.stats()["current_count"] == 30
        assert cache.stats()["current_size"] == 30 * 1200

    def test_a_cache_directory_that_was_removed_is_made_again(
        self, make_cache: MakeCache, uris: list[str], settings: dict
    ) -> None:
        import shutil

        cache = make_cache(**settings)
        cache.download_media(uris)
        cache.close()
        shutil.rmtree(cache.config.cache_dir)

        status = make_cache(**settings).download_media(uris).status()

        assert (status.downloaded, status.failed) == (40, 0)

    def test_partial_files_that_nobody_knows_are_removed(
        self, make_cache: MakeCache, uris: list[str], settings: dict
    ) -> None:
        cache = make_cache(**settings)
        cache.download_media(uris[:1])
        stray = Path(cache.engine.files.temporary("somebody-1-2-3.7"))
        stray.write_bytes(b"x")

        reconciled(cache)

        assert not stray.exists()


def test_maintenance_is_done_by_one_process_at_a_time(make_cache: MakeCache, settings: dict) -> None:
    first, second = make_cache(**settings).engine, make_cache(**settings).engine
    index = first.open_index()
    with index.locks.hold(index.keys.maintenance, 30.0):
        assert not second.open_maintenance().run()

    assert second.open_maintenance().run()


def test_a_session_is_not_extended_while_it_is_cleaned_up_after(
    make_cache: MakeCache,
    http_server: HTTPServer,
    uris: list[str],
    settings: dict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a process that was paused for longer than its session lasts
    late, cache = make_cache(**settings), make_cache(**settings)
    session = late.engine.open_session()
    [(token, _)] = session.claim([entry_of(uris[0])])
    index, recovery = cache.engine.open_index(), cache.engine._open().recovery
    index.connection.command("zadd", index.keys.sessions, {session.id: 1.0}, xx=True)
    reap = index.sessions.reap

    # when it goes on, and sends a heartbeat, at the moment at which its partial files have been removed
    def reap_later(session_id: str) -> int:
        session.extend()
        return reap(session_id)

    monkeypatch.setattr(index.sessions, "reap", reap_later)
    recovery.reap_ended()

    # then its claim is void, as its reservation is
    assert not session.owns(token)
    assert late.local_path(uris[0])


class TestASweepIsNotOver:
    """What it has not taken into the index stays counted, or other files would take its space."""

    def unknown_files(self, cache: MediaCache, uris: list[str]) -> None:
        layout = cache.engine.files.layout()
        for uri in uris:
            path = Path(layout.path(entry_of(uri)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 1_200)

    def counted(self, cache: MediaCache) -> int:
        totals = cache.engine.open_index().entries.totals()
        return totals.published + totals.unindexed

    def test_while_another_process_has_a_claim_on_a_file(
        self, make_cache: MakeCache, valkey: Valkey, uris: list[str], settings: dict
    ) -> None:
        cache, other = make_cache(**settings), make_cache(**settings)
        self.unknown_files(cache, uris[:5])
        valkey.client.flushall()
        session = other.engine.open_session()
        token = session.evictor_token()
        session.claim_to_evict([entry_of(uris[0])], token)

        reconciled(cache)

        assert not cache.engine.open_index().state.is_complete()
        assert self.counted(cache) == 5 * 1_200

        session.release([(entry_of(uris[0]), token)])
        reconciled(cache)

        assert cache.engine.open_index().state.is_complete()
        assert cache.engine.open_index().entries.totals().published == 5 * 1_200

    def test_when_redis_loses_its_data_meanwhile(
        self,
        make_cache: MakeCache,
        valkey: Valkey,
        uris: list[str],
        settings: dict,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        cache, other = make_cache(**settings), make_cache(**settings)
        self.unknown_files(cache, uris[:5])
        other.engine.open_session()
        entries = cache.engine.open_index().entries
        scan, lost = entries.scan, iter([True])

        def late() -> object:
            if next(lost, False):
                valkey.client.flushall()
                other.engine._open().recovery.check(ask=True)
            return scan()

        monkeypatch.setattr(entries, "scan", late)
        reconciled(cache)

        assert self.counted(cache) == 5 * 1_200
