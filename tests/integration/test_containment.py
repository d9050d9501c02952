"""Nothing outside of the cache directory is written, deleted or served, whatever lies in it or in Redis."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from forebay.cache import MediaCache
from forebay.errors import VolumeError
from forebay.jobs.ledger import all_jobs
from forebay.uri import entry_of
from forebay.volume.beneath import Beneath
from forebay.volume.cached_entries import mark
from tests.caches import MakeCache, maintain
from tests.servers.http_server import HTTPServer
from tests.servers.valkey import Valkey

GOOD = "http/127.0.0.1/good"
# Names that no URI has; as paths they lead to `victim`, or to nothing.
BAD_ENTRIES = [
    "../../victim",
    "../victim",
    "s3/../../../victim",
    "s3/bucket/../../../../victim",
    "s3/bucket/./../../../../victim",
    "/victim",
    "victim",
    "",
    "s3/bucket/a\0b",
    "s3//victim",
    "tmp/bucket/victim",
]
BAD_VALUES = ["", "x", "-5|e|1", "5", "5|e", "5|e|x", "9" * 400 + "|e|1", "١|e|1", "\udcff|e|1"]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the cache, with a file."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.bin").write_bytes(b"mine")
    return tmp_path / "outside"


@pytest.fixture
def open_cache(make_cache: MakeCache, http_server: HTTPServer) -> MediaCache:
    return make_cache(allowed_sources=[http_server.endpoint + "/"])


@pytest.fixture(params=["one call", "steps"])
def resolution(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways in which paths are resolved."""
    if request.param == "steps":
        monkeypatch.setattr("forebay.volume.beneath._native", lambda: None)


def host_directory(cache: MediaCache, uri: str) -> Path:
    return Path(cache.engine.files.layout().path(entry_of(uri))).parent


def listing(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("resolution")
class TestLinkedDirectories:
    def test_a_download_does_not_write_through(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path
    ) -> None:
        uri = http_server.put("/a.bin", b"theirs")
        place = host_directory(open_cache, uri)
        place.parent.mkdir(parents=True)
        place.symlink_to(outside)

        path = open_cache.local_path(uri)

        assert listing(outside) == {"a.bin": b"mine"}
        assert Path(path).read_bytes() == b"theirs"
        assert os.path.realpath(path) == path

    def test_a_link_higher_up_is_not_followed_either(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path
    ) -> None:
        uri = http_server.put("/deep/down/a.bin", b"theirs")
        place = host_directory(open_cache, uri).parent
        place.parent.mkdir(parents=True)
        place.symlink_to(outside)
        (outside / "down").mkdir()

        open_cache.local_path(uri)

        assert listing(outside) == {"a.bin": b"mine"}
        assert (outside / "down").is_dir()

    def test_a_hit_does_not_serve_what_is_behind(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path
    ) -> None:
        uri = http_server.put("/a.bin", b"theirs")
        place = Path(open_cache.local_path(uri)).parent
        place.rename(place.with_name("away"))
        place.symlink_to(outside)
        before = (outside / "a.bin").stat().st_atime_ns

        assert open_cache.engine.files.touch(entry_of(uri)) is None
        assert mark(open_cache.engine.files, [entry_of(uri)] * 5) == [False] * 5
        assert open_cache.engine.files.locate(entry_of(uri)) is None
        assert (outside / "a.bin").stat().st_atime_ns == before

    def test_a_file_that_is_a_link_is_replaced(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path
    ) -> None:
        uri = http_server.put("/a.bin", b"theirs")
        place = host_directory(open_cache, uri)
        place.mkdir(parents=True)
        (place / "a.bin").symlink_to(outside / "a.bin")

        path = Path(open_cache.local_path(uri))

        assert (path.read_bytes(), path.is_symlink()) == (b"theirs", False)
        assert listing(outside) == {"a.bin": b"mine"}

    @pytest.mark.parametrize("remove", ["clear", "evict"])
    def test_nothing_is_deleted_through(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path, remove: str
    ) -> None:
        uri = http_server.put("/a.bin", b"theirs")
        place = Path(open_cache.local_path(uri)).parent
        place.rename(place.with_name("away"))
        place.symlink_to(outside)

        if remove == "clear":
            open_cache.clear()
        else:
            open_cache.evict(0)

        assert listing(outside) == {"a.bin": b"mine"}

    def test_empty_directories_behind_stay(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path
    ) -> None:
        uri = http_server.put("/deep/a.bin", b"theirs")
        place = Path(open_cache.local_path(uri)).parent.parent
        place.rename(place.with_name("away"))
        place.symlink_to(outside)
        (outside / "deep").mkdir()

        open_cache.clear()

        assert (outside / "deep").is_dir()

    def test_a_sweep_takes_nothing_behind_into_the_index(
        self, open_cache: MediaCache, http_server: HTTPServer, outside: Path
    ) -> None:
        uri = http_server.put("/b.bin", b"theirs")
        place = Path(open_cache.local_path(uri)).parent
        (place / "link").symlink_to(outside)
        (place / "c.bin").symlink_to(outside / "a.bin")

        maintain(open_cache)

        assert [one.uri for one in open_cache.contents()] == [uri]
        assert listing(outside) == {"a.bin": b"mine"}

    @pytest.mark.parametrize("name", ["media", ".forebay/tmp"])
    def test_the_caches_own_directories_are_no_links(
        self, make_cache: MakeCache, http_server: HTTPServer, outside: Path, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "cache" / ".forebay").mkdir(parents=True)
        (tmp_path / "cache" / name).symlink_to(outside)
        cache = make_cache(allowed_sources=[http_server.endpoint + "/"])

        with pytest.raises(VolumeError, match="is a link: Forebay follows no link"):
            cache.local_path(http_server.put("/a.bin", b"theirs"))

        assert listing(outside) == {"a.bin": b"mine"}

    def test_the_cache_directory_may_be_one(
        self, make_cache: MakeCache, http_server: HTTPServer, tmp_path: Path
    ) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "cache").symlink_to(tmp_path / "disk")
        cache = make_cache(allowed_sources=[http_server.endpoint + "/"])
        uri = http_server.put("/a.bin", b"theirs")

        path = cache.local_path(uri)

        assert path.startswith(str(tmp_path / "cache" / "media"))
        assert cache.local_path(uri) == path
        assert Path(path).read_bytes() == b"theirs"


class TestNewDirectories:
    @pytest.fixture(autouse=True)
    def open_umask(self) -> object:
        before = os.umask(0)
        yield
        os.umask(before)

    def test_the_group_may_not_write(self, open_cache: MediaCache, http_server: HTTPServer) -> None:
        open_cache.local_path(http_server.put("/deep/a.bin", b"x"))

        root = Path(open_cache.config.cache_dir)
        made = [root, *(path for path in root.rglob("*") if path.is_dir())]
        assert {path: oct(path.stat().st_mode & 0o022) for path in made} == dict.fromkeys(made, "0o0")

    def test_unless_the_user_says_so(self, make_cache: MakeCache, http_server: HTTPServer) -> None:
        os.umask(0o022)
        cache = make_cache(allowed_sources=[http_server.endpoint + "/"], group_writable=True)

        path = Path(cache.local_path(http_server.put("/deep/a.bin", b"x")))

        assert oct(path.parent.stat().st_mode & 0o7777) == "0o775"
        assert oct(Path(cache.engine.files.layout().private_dir).stat().st_mode & 0o022) == "0o0"


class TestValuesFromRedis:
    @pytest.fixture
    def victim(self, tmp_path: Path, open_cache: MediaCache) -> list[Path]:
        """Files that entries and tokens with ``..`` would lead to, one in each directory above the media."""
        places = [tmp_path, tmp_path / "cache", tmp_path / "cache" / "media", tmp_path / "cache" / ".forebay"]
        files = []
        for place in places:
            place.mkdir(exist_ok=True, parents=True)
            (place / "victim").write_text("mine")
            files.append(place / "victim")
        return files

    def insert(self, cache: MediaCache, entries: list[str], value: str = "5|e|1") -> None:
        index = cache.engine.open_index()
        for entry in entries:
            name = entry.encode("utf-8", "surrogateescape")
            index.connection.redis.hset(index.keys.entries, name, value.encode("utf-8", "surrogateescape"))
            index.connection.redis.zadd(index.keys.atime, {name: 1.0})
            index.connection.redis.hincrby(index.keys.meta, "published", 5)
            index.connection.redis.hincrby(index.keys.meta, "count", 1)

    @pytest.mark.parametrize("what", ["evict", "clear", "sweep"])
    def test_entries_that_are_none_delete_nothing_and_leave(
        self, open_cache: MediaCache, victim: list[Path], what: str
    ) -> None:
        self.insert(open_cache, [*BAD_ENTRIES, "s3/bucket/\udcff"])

        if what == "evict":
            open_cache.evict(0)
        elif what == "clear":
            open_cache.clear()
        else:
            maintain(open_cache)

        assert [path.read_text() for path in victim] == ["mine"] * len(victim)
        assert open_cache.engine.open_index().entries.totals().count == 0

    @pytest.mark.parametrize("kind", ["", "e"])
    def test_claims_that_are_none_delete_nothing(
        self, open_cache: MediaCache, victim: list[Path], http_server: HTTPServer, kind: str
    ) -> None:
        index = open_cache.engine.open_index()
        good = http_server.put("/good.bin", b"x")
        tokens = [
            "../../victim",
            "../victim",
            f"../../victim.{kind}1",
            "../victim.",
            "",
            ".",
            "no-dot",
            "a/b.1",
        ]
        for entry in [*BAD_ENTRIES, entry_of(good)]:
            for number, token in enumerate(tokens):
                index.connection.redis.hset(index.keys.claims, f"{entry}{number or ''}", token)
        index.connection.redis.hset(index.keys.claims, entry_of(good), "../../victim")
        for session in ("../..", "..", "", "x", "a-b-c", "---"):
            index.connection.redis.zadd(index.keys.sessions, {session: 1.0})

        open_cache.local_path(good)
        maintain(open_cache)

        assert [path.read_text() for path in victim] == ["mine"] * len(victim)
        assert index.connection.redis.zrange(index.keys.sessions, 0, 1) == [
            open_cache.engine.open_session().id
        ]

    @pytest.mark.parametrize("value", BAD_VALUES, ids=ascii)
    def test_a_value_that_cannot_be_read_costs_its_entry_only(
        self, open_cache: MediaCache, http_server: HTTPServer, value: str
    ) -> None:
        good, bad = http_server.put("/good.bin", b"good"), http_server.put("/bad.bin", b"bad")
        open_cache.download_media([good, bad])
        self.insert(open_cache, [entry_of(bad)], value)
        index = open_cache.engine.open_index()
        index.connection.redis.hincrby(index.keys.meta, "count", -1)

        assert {one.uri for one in open_cache.contents()} == {good, bad}
        with open_cache.lease([good, bad], 60):
            pass
        maintain(open_cache)
        status = open_cache.download_media([good, bad]).status()

        assert (status.total, status.failed) == (2, 0)
        assert Path(open_cache.local_path(bad)).read_bytes() == b"bad"
        open_cache.clear()
        assert index.entries.totals().count == 0

    def test_records_that_cannot_be_read_cost_themselves_only(
        self, open_cache: MediaCache, http_server: HTTPServer, valkey: Valkey
    ) -> None:
        job = open_cache.download_media([http_server.put("/good.bin", b"good")])
        index = open_cache.engine.open_index()
        redis, keys = index.connection.redis, index.keys
        for number, text in enumerate(["", "x", "[]", "{}", '{"name": 1}', "[" * 5000, "null", b"\xff"]):
            redis.hset(keys.workers, f"w{number}", text)
            redis.hset("forebay:volumes", f"v{number}", text)
        for number, directory in enumerate(["../../etc", "", "/a/../etc", "/a\0/.."]):
            record = {"name": "v", "host": "h", "directory": directory, "limit": 1, "seen": 1.0}
            redis.hset("forebay:volumes", f"d{number}", json.dumps(record))
        for number, field in enumerate(["created", "updated", "total", "pending", "message_size"]):
            name = f"bad{number}"
            redis.zadd(keys.jobs, {name: 1.0})
            redis.hset(
                keys.job(name), mapping={"created": 1, "updated": 1, "total": 1, "pending": 1} | {field: "x"}
            )
        redis.hset(keys.job(job.id, "failures"), "0", json.dumps({"uri": 5}))

        assert index.workers.all() == []
        assert [record.name for record in index.volumes.all()] == [index.volume]
        assert [status.id for status in all_jobs(index.jobs)] == [job.id]
        assert [failure.reason for failure in job.failures()] == [
            "what was noted of it in Redis cannot be read"
        ]
        overview = index.overview()
        assert (overview.workers, list(overview.jobs)) == ([], [job.id])
        maintain(open_cache)
        assert index.jobs.all() == [job.id]

    @pytest.mark.parametrize("text", ["", "x", "{}", "[1]", "[null]"])
    def test_a_job_whose_message_cannot_be_read_ends(
        self, open_cache: MediaCache, http_server: HTTPServer, text: str
    ) -> None:
        job = open_cache.create_job([http_server.put("/good.bin", b"good")])
        index = open_cache.engine.open_index()
        index.connection.redis.hset(index.keys.job(job.id, "uris"), "0", text)

        job.start()
        status = job.wait().status()

        assert (status.pending, status.failed) == (0, 1)


def test_a_path_with_two_dots_is_refused_whoever_made_it(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "victim").touch()
    beneath = Beneath(str(tmp_path / "cache"))

    for path in (f"{tmp_path}/cache/../victim", f"{tmp_path}/cache/media/../../victim"):
        with pytest.raises(OSError, match="leads out of"):
            beneath.unlink(path)

    assert (tmp_path / "victim").exists()
