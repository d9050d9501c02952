"""The command line as a user meets it: each command's normal use, its JSON, its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from forebay import __version__
from forebay.cache import MediaCache
from tests.commands import COMMAND, Forebay
from tests.servers.embedded import cache_directory, eventually
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    """Twelve objects of 1,000 bytes: eight below ``train/``, four below ``test/``."""
    names = [f"train/{n}.jpg" for n in range(6)] + ["train/a.png", "train/b.png"]
    names += [f"test/{n}.jpg" for n in range(4)]
    return s3_server.put_many(s3_bucket, {name: name.encode().ljust(1000) for name in names})


class TestPrefetch:
    def test_objects(self, forebay: Forebay, cache: MediaCache, uris: list[str]) -> None:
        done = forebay("prefetch", *uris[:3])

        assert done.status == 0
        assert done.out.startswith("3 of 3 samples cached, 3 downloaded (2.9KB in ")
        [line] = done.error_lines
        assert line.startswith("job ")
        assert line.endswith(": 3 samples, 3 to fetch with local threads")
        for uri in uris[:3]:
            assert Path(cache.local_path(uri)).read_bytes().strip().decode() == uri.split("/", 3)[3]

    def test_again_there_is_nothing_to_do(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris[:3])

        done = forebay("prefetch", *uris[:4])

        assert done.status == 0
        assert done.out.startswith("4 of 4 samples cached, 3 already cached, 1 downloaded")
        assert ": 4 samples, 3 cached already, 1 to fetch with local threads" in done.err
        assert forebay("prefetch", *uris[:4]).out == "4 of 4 samples cached, all already cached\n"

    @pytest.mark.parametrize("end", ["", "/"])
    def test_a_bucket(self, forebay: Forebay, s3_bucket: str, uris: list[str], end: str) -> None:
        assert forebay("prefetch", f"s3://{s3_bucket}{end}", "--json").json["downloaded"] == len(uris)

    def test_a_prefix_and_globs(self, forebay: Forebay, s3_bucket: str, uris: list[str]) -> None:
        prefix = f"s3://{s3_bucket}/train/"

        done = forebay(
            "prefetch", prefix, "--include", "*.jpg", "--exclude", "0.*", "--exclude", "1.*", "--json"
        )

        assert done.status == 0
        assert done.json["downloaded"] == 4
        assert [line.split()[-1] for line in forebay("ls").lines] == [
            prefix + f"{n}.jpg" for n in range(2, 6)
        ]

    def test_a_manifest_of_each_kind(self, forebay: Forebay, tmp_path: Path, uris: list[str]) -> None:
        (tmp_path / "list.txt").write_text(f"# mine\n{uris[0]}\n")
        (tmp_path / "list.jsonl").write_text(json.dumps({"id": 1, "filepath": uris[1]}) + "\n")
        (tmp_path / "list.csv").write_text(f"image,label\n{uris[2]},cat\n")
        named = [f"@{tmp_path}/list.{kind}" for kind in ("txt", "jsonl")]

        done = forebay("prefetch", *named, "-", "--json", input=f"{uris[3]}\n{uris[4]}\n")
        table = forebay("prefetch", f"@{tmp_path}/list.csv", "--column", "image", "--json")

        assert (done.status, done.json["downloaded"]) == (0, 4)
        assert (table.status, table.json["downloaded"]) == (0, 1)

    def test_json(self, forebay: Forebay, uris: list[str]) -> None:
        found = forebay("prefetch", *uris, uris[0] + ".missing", "--json").json

        assert (found["state"], found["dispatch"]) == ("done", "local")
        assert (found["total"], found["downloaded"], found["failed"]) == (13, 12, 1)
        assert found["bytes"] == 12000
        assert found["failures"] == [
            {
                "uri": uris[0] + ".missing",
                "reason": "no such object (404 Not Found: NoSuchKey)",
                "attempts": 1,
            }
        ]

    def test_what_fails_is_listed(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("prefetch", uris[0], uris[1] + ".missing")

        assert done.status == 1
        assert done.out.startswith("1 of 2 samples cached, 1 downloaded (1000B in ")
        assert done.out.endswith(", 1 failed\n")
        job = done.err.split()[1].rstrip(":")
        assert done.error_lines[1:] == [
            f"failed: {uris[1]}.missing: no such object (404 Not Found: NoSuchKey)",
            f"to retry failed samples: forebay job {job} --retry",
        ]

    def test_many_failures_are_not_all_listed(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("prefetch", *(f"{uris[0]}.{n}" for n in range(23)))

        job = done.err.split()[1].rstrip(":")
        assert sum(line.startswith("failed: ") for line in done.error_lines) == 20
        assert f"and 3 more: forebay job {job}" in done.error_lines
        everything = forebay("job", job)
        assert everything.status == 1
        assert sum(line.startswith("failed: ") for line in everything.error_lines) == 23

    def test_dry_run(self, forebay: Forebay, uris: list[str], s3_proxy: Proxy, s3_bucket: str) -> None:
        forebay("prefetch", *uris[:4])

        done = forebay("prefetch", f"s3://{s3_bucket}/", "--dry-run")
        named = forebay("prefetch", *uris[2:6], uris[2], "--dry-run", "--json")

        assert done.status == 0
        assert done.lines == [
            "12 objects, 11.7KB",
            "  cached             4     3.9KB",
            "  to fetch           8     7.8KB",
        ]
        assert named.json == {
            "total": 4,
            "bytes": 4000,
            "cached": 2,
            "cached_bytes": 2000,
            "missing": 2,
            "missing_bytes": 2000,
            "unsized": 0,
            "failures": [],
        }
        assert forebay("stats", "--json").json["current_count"] == 4

    def test_dry_run_of_what_is_not_there(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("prefetch", uris[0], uris[0] + ".missing", "--dry-run")
        assert done.status == 1
        assert done.error_lines == [
            f"failed: {uris[0]}.missing: no such object, or no such bucket (404 Not Found)"
        ]
        assert done.lines[0] == "2 objects, 1000B"

    def test_dry_run_of_more_than_the_cache_holds(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("--cache-size", "5000", "prefetch", *uris, "--dry-run")
        assert (
            "warning: this is larger than the cache (4.9KB): only the last part would stay cached" in done.err
        )

    def test_more_than_the_cache_holds(self, forebay: Forebay, uris: list[str]) -> None:
        small = ("--cache-size", "5000", "prefetch")
        done = forebay(*small, *uris)
        assert done.status == 0
        assert (
            "warning: 11.7KB were downloaded, and the cache holds 4.9KB: what came first has been evicted"
            in done.err
        )
        assert "warning" not in forebay(*small, *uris[:3]).err

    def test_update_fetches_what_has_changed(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, uris: list[str]
    ) -> None:
        forebay("prefetch", *uris[:3])
        s3_server.put(s3_bucket, "train/1.jpg", b"other")

        estimate = forebay("prefetch", *uris[:3], "--update", "--dry-run", "--json").json
        done = forebay("prefetch", *uris[:3], "--update", "--json").json

        assert (estimate["cached"], estimate["missing"], estimate["missing_bytes"]) == (2, 1, 5)
        assert (done["cached"], done["downloaded"]) == (2, 1)
        assert Path(forebay("get", uris[1]).out.strip()).read_bytes() == b"other"

    def test_a_lease(self, forebay: Forebay, uris: list[str]) -> None:
        job = forebay("prefetch", *uris[:3], "--lease", "24h", "--json").json

        [lease] = forebay("lease", "--json").json
        assert (lease["name"], lease["entries"]) == (f"job-{job['id']}", 3)
        assert 86000 < lease["seconds_left"] <= 86400

    def test_without_waiting_a_process_of_its_own_goes_on(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("prefetch", *uris, "--no-wait")

        job = done.out.strip()
        assert done.status == 0
        assert "fetches them in the background; its output goes to " in done.error_lines[1]
        assert done.error_lines[2] == f"to wait for it: forebay job {job} --watch"
        watched = forebay("job", job, "--watch")
        assert watched.status == 0
        assert watched.out.startswith("12 of 12 samples cached, 12 downloaded")
        log = Path(done.error_lines[1].rpartition(" ")[2])
        assert eventually(lambda: "12 of 12 samples cached" in log.read_text())

    def test_without_waiting_as_json(self, forebay: Forebay, uris: list[str]) -> None:
        found = forebay("prefetch", *uris, "--no-wait", "--json").json
        assert found["total"] == 12
        assert forebay("job", found["id"], "--watch", "--json").json["downloaded"] == 12
        assert forebay("prefetch", *uris, "--no-wait", "--json").json["state"] == "done"


class TestGet:
    def test_downloads_once(self, forebay: Forebay, uris: list[str]) -> None:
        first, second = forebay("get", uris[0]), forebay("get", uris[0])
        assert first.status == second.status == 0
        assert first.out == second.out
        assert Path(first.out.rstrip("\n")).read_bytes() == b"train/0.jpg".ljust(1000)

    def test_a_hit_asks_neither_redis_nor_the_source(self, forebay: Forebay, uris: list[str]) -> None:
        path = forebay("get", uris[0]).out

        hit = forebay("get", uris[0], redis_url="redis://127.0.0.1:1/0", allowed_sources="gs://")

        assert (hit.status, hit.out, hit.err) == (0, path, "")

    def test_json(self, forebay: Forebay, uris: list[str]) -> None:
        found = forebay("get", uris[0], "--json").json
        assert found == {"uri": uris[0], "path": forebay("get", uris[0]).out.strip()}

    def test_a_missing_object(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("get", uris[0] + ".missing")
        assert (done.status, done.out) == (1, "")
        assert done.err == f"error: {uris[0]}.missing: no such object (404 Not Found: NoSuchKey)\n"

    def test_local_paths(self, forebay: Forebay, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").touch()
        assert forebay("get", f"{tmp_path}/a.jpg").out == f"{tmp_path}/a.jpg\n"
        done = forebay("get", f"{tmp_path}/b.jpg")
        assert (done.status, done.err) == (1, f"error: {tmp_path}/b.jpg: there is no such local file\n")


class TestContents:
    def test_ls(self, forebay: Forebay, uris: list[str], s3_bucket: str) -> None:
        forebay("prefetch", *uris)

        assert [line.split()[-1] for line in forebay("ls").lines] == sorted(uris)
        below = forebay("ls", f"s3://{s3_bucket}/test/", "--limit", "2").lines
        assert [line.split()[-1] for line in below] == uris[8:10]
        assert below[0].split()[0] == "1000B"
        assert forebay("ls", "s3://nothing/").lines == []

    def test_ls_sorted(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, uris: list[str], cache: MediaCache
    ) -> None:
        large = s3_server.put(s3_bucket, "large", b"x" * 5000)
        forebay("prefetch", *uris[:3], large)
        os.utime(cache.local_path(uris[1]), (2e9, 2e9))

        assert forebay("ls", "--sort", "size", "--limit", "1").lines[0].split()[-1] == large
        assert forebay("ls", "--sort", "used", "--limit", "1").lines[0].split()[-1] == uris[1]
        assert forebay("ls", "--sort", "used", "--reverse").lines[-1].split()[-1] == uris[1]
        assert forebay("ls", "--reverse").lines[0].split()[-1] == uris[2]

    def test_ls_json(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris[:2], "--lease", "1h")
        first, second = forebay("ls", "--json").json_lines
        assert (first["uri"], second["uri"]) == (uris[0], uris[1])
        assert (first["size"], first["leased"]) == (1000, True)
        assert Path(first["path"]).read_bytes() == b"train/0.jpg".ljust(1000)

    def test_ls_into_a_pipe_that_is_closed(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris)
        # head has gone before the first line comes.
        command = f"({COMMAND} ls --json; echo $? >&2) | true"
        done = subprocess.run(
            ["bash", "-c", command], check=True, capture_output=True, text=True, env=forebay.environment()
        )
        assert done.stderr == "141\n"

    def test_stats(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris[:8], "--lease", "1h", cache_size_bytes=32000)

        done = forebay("stats", cache_size_bytes=32000)

        assert done.status == 0
        assert done.lines[1] == "━━━━━━━━━━──────────────────────────────".ljust(40) + " 25%, 7.8KB of 31.2KB"
        assert [line.split(maxsplit=1) for line in done.lines[2:4]] == [
            ["objects", "8, 7.8KB"],
            ["leased", "7.8KB by 1 lease"],
        ]

    def test_stats_json(self, forebay: Forebay, uris: list[str], cache: MediaCache) -> None:
        forebay("prefetch", *uris)
        found = forebay("stats", "--json").json
        assert {name: found[name] for name in cache.stats()} == cache.stats()
        assert (found["current_size"], found["reserved"], found["workers"]) == (12000, 0, 0)

    def test_verify(self, forebay: Forebay, uris: list[str], cache: MediaCache) -> None:
        forebay("prefetch", *uris[:3])
        Path(cache.local_path(uris[2])).write_bytes(b"short")

        good, bad = forebay("verify", *uris[:2]), forebay("verify", *uris[:4])

        assert (good.status, good.out, good.err) == (0, "", "2 objects: 2 cached\n")
        assert bad.status == 1
        assert bad.lines == [
            f"damaged  {uris[2]}: its file has 5 bytes, and 1,000 were downloaded",
            f"missing  {uris[3]}",
        ]
        assert bad.err == "4 objects: 2 cached, 1 missing, 1 damaged\n"

    def test_verify_remote(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, uris: list[str]
    ) -> None:
        forebay("prefetch", *uris[:4])
        s3_server.put(s3_bucket, "train/1.jpg", b"other")
        s3_server.delete(s3_bucket, "train/2.jpg")

        local, remote = forebay("verify", *uris[:4]), forebay("verify", *uris[:4], "--remote")

        assert local.status == 0
        assert remote.status == 1
        assert remote.lines == [
            f"stale    {uris[1]}: it has changed at its source",
            f"stale    {uris[2]}: it is no longer at its source",
        ]
        assert forebay("verify", *uris[:4], "--remote", "--json").json == {
            "total": 4,
            "cached": 2,
            "missing": 0,
            "stale": 2,
            "damaged": 0,
            "unknown": 0,
            "findings": [
                {"uri": uris[1], "state": "stale", "reason": "it has changed at its source"},
                {"uri": uris[2], "state": "stale", "reason": "it is no longer at its source"},
            ],
        }

    def test_verify_below_a_prefix_compares_with_its_listing(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, uris: list[str]
    ) -> None:
        forebay("prefetch", *uris)
        assert forebay("verify", f"s3://{s3_bucket}/").status == 0
        s3_server.put(s3_bucket, "train/1.jpg", b"other")
        assert forebay("verify", f"s3://{s3_bucket}/").lines == [
            f"stale    {uris[1]}: it has changed at its source"
        ]

    def test_clear(self, forebay: Forebay, s3_bucket: str, uris: list[str]) -> None:
        forebay("prefetch", *uris)

        assert forebay("clear", uris[0], uris[0] + ".never", "--yes").out == "removed 1 object\n"
        assert forebay("clear", f"s3://{s3_bucket}/train/", "--yes", "--json").json == {
            "removed": 7,
            "kept": 0,
        }
        assert forebay("clear", "--all", "-y").out == "removed 4 objects\n"
        assert forebay("stats", "--json").json["current_size"] == 0

    def test_clear_asks_first(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris[:2])

        done = forebay("clear", "--all")

        assert done.status == 2
        assert done.error_lines[0] == "error: Invalid value: there is no terminal to ask on: give --yes"
        assert forebay("stats", "--json").json["current_count"] == 2

    def test_clear_wants_to_know_what(self, forebay: Forebay, uris: list[str]) -> None:
        for arguments in ([], [uris[0], "--all"]):
            done = forebay("clear", *arguments)
            assert done.status == 2
            assert done.error_lines[0] == "error: Invalid value: name what to remove, or give --all"

    def test_clear_leaves_what_is_leased(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris[:2], "--lease", "1h")
        forebay("prefetch", *uris[2:4])

        done = forebay("clear", "--all", "--yes")

        assert (done.status, done.out) == (1, "removed 2 objects\n")
        assert done.err == (
            "warning: 2 objects are still there: kept by a lease (--force removes those), "
            "or being downloaded\n"
        )
        forced = forebay("clear", "--all", "--yes", "--force")
        assert (forced.status, forced.out) == (0, "removed 2 objects\n")

    def test_evict(self, forebay: Forebay, uris: list[str]) -> None:
        for uri in uris[:4]:
            forebay("prefetch", uri)
        forebay("get", uris[0])

        done = forebay("evict", "--to", "2KB", "--json")

        assert done.status == 0
        assert done.json == {"freed": 2000, "left": 2000, "evicted": uris[1:3]}
        assert forebay("evict", "--to", "2KB").out == "nothing had to be evicted; 2.0KB are left\n"
        verbose = forebay("evict", "--to", "0", "-v")
        assert verbose.lines == [
            uris[3],
            uris[0],
            "evicted 2 objects (2.0KB), least recently used first; 0B are left",
        ]

    def test_evict_leaves_what_is_leased(self, forebay: Forebay, uris: list[str]) -> None:
        forebay("prefetch", *uris[:2], "--lease", "1h")
        done = forebay("evict", "--to", "0")
        assert (done.status, done.out) == (1, "nothing could be evicted; 2.0KB are left\n")
        assert done.err.startswith("warning: the rest is leased, being downloaded, or in its grace period")


class TestJobs:
    def test_jobs(self, forebay: Forebay, uris: list[str]) -> None:
        assert (forebay("jobs").out, forebay("jobs").err) == ("", "no jobs\n")
        assert forebay("jobs", "--json").json == []
        first = forebay("prefetch", *uris[:3], "--json").json["id"]
        second = forebay("prefetch", uris[0] + ".missing", "--json").json["id"]

        titles, *rows = [line.split() for line in forebay("jobs").lines]

        assert titles == ["job", "state", "by", "samples", "failed", "downloaded", "created"]
        assert [row[:6] for row in rows] == [
            [first, "done", "local", "3/3", "0", "2.9KB"],
            [second, "done", "local", "1/1", "1", "0B"],
        ]
        assert [job["id"] for job in forebay("jobs", "--json").json] == [first, second]

    def test_retry(self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, uris: list[str]) -> None:
        job = forebay("prefetch", uris[0], f"s3://{s3_bucket}/late.jpg", "--json").json["id"]
        s3_server.put(s3_bucket, "late.jpg", b"there")

        done = forebay("job", job, "--retry")

        assert done.status == 0
        assert done.error_lines == [f"job {job}: 2 samples, 1 to fetch with local threads"]
        assert done.out.startswith("2 of 2 samples cached, 1 already cached, 1 downloaded (5B in ")
        assert forebay("job", job).status == 0

    def test_retry_without_waiting(
        self, forebay: Forebay, s3_server: S3Server, s3_bucket: str, uris: list[str]
    ) -> None:
        job = forebay("prefetch", f"s3://{s3_bucket}/late.jpg", "--json").json["id"]
        s3_server.put(s3_bucket, "late.jpg", b"there")

        assert forebay("job", job, "--retry", "--no-wait").out == f"{job}\n"
        assert forebay("job", job, "--watch").status == 0

    def test_cancel(self, forebay: Forebay, cache: MediaCache, uris: list[str]) -> None:
        job = cache.create_job(uris).id

        done = forebay("job", job, "--cancel")

        assert done.status == 0
        assert done.out == f"job {job}: 0 of 12 samples cached, cancelled; 12 samples not fetched\n"
        shown = forebay("job", job)
        assert shown.status == 1
        assert shown.err == f"to resume it: forebay job {job} --retry\n"
        assert forebay("job", job, "--retry").status == 0

    def test_one_thing_at_a_time(self, forebay: Forebay) -> None:
        done = forebay("job", "x", "--retry", "--cancel")
        assert done.status == 2
        assert done.error_lines[0] == "error: Invalid value: choose one of --watch, --retry and --cancel"

    def test_a_job_that_is_not_known(self, forebay: Forebay) -> None:
        done = forebay("job", "0123456789ab")
        assert done.status == 2
        assert done.err == (
            "error: job '0123456789ab' is not known on volume 'default': "
            "`forebay jobs` lists those that are\n"
        )

    def test_hints_repeat_the_options_that_were_given(self, forebay: Forebay, uris: list[str]) -> None:
        url = forebay.settings.pop("redis_url").replace("redis://", "redis://u:hunter2@")
        done = forebay("prefetch", uris[0], "--redis-url", url, "--volume", "v 1")
        assert "hunter2" not in done.err


class TestLeases:
    def test_add_renew_end(self, forebay: Forebay, s3_bucket: str, uris: list[str]) -> None:
        assert (forebay("lease").err, forebay("lease", "ls", "--json").json) == ("no leases\n", [])

        added = forebay("lease", "add", f"s3://{s3_bucket}/train/", "--for", "1h", "--name", "run-7")
        assert (added.status, added.out, added.err) == (0, "run-7\n", "8 objects kept for 60 min\n")
        assert forebay("lease", "ls").lines == ["lease  objects  time left", "run-7        8  60 min"]

        renewed = forebay("lease", "renew", "run-7", "--for", "3d")
        assert (renewed.status, renewed.out) == (0, "run-7 keeps 8 objects for another 3 days\n")

        assert forebay("lease", "end", "run-7").out == "run-7 has ended; it kept 8 objects\n"
        for command in (["end", "run-7"], ["renew", "run-7", "--for", "1h"]):
            done = forebay("lease", *command)
            assert done.status == 2
            assert done.err == (
                "error: lease 'run-7' does not exist on volume 'default', or has expired: "
                "`forebay lease ls` lists the leases\n"
            )

    def test_a_name_is_made_up(self, forebay: Forebay, uris: list[str]) -> None:
        found = forebay("lease", "add", uris[0], "--for", "90s", "--json").json
        assert (found["entries"], found["seconds_left"]) == (1, 90)
        assert forebay("lease", "--json").json[0]["name"] == found["name"]


class TestConfig:
    def test_every_setting_and_where_it_came_from(self, forebay: Forebay, cache: MediaCache) -> None:
        done = forebay("config", "--cache-size", "5GB", redis_url="redis://:hunter2@h/0")

        assert done.status == 0
        rows = {line.split()[0]: line.split() for line in done.lines[1:]}
        assert rows.keys() == type(cache.config).model_fields.keys()
        assert rows["cache_size_bytes"] == ["cache_size_bytes", "5368709120", "--cache-size"]
        assert rows["redis_url"] == ["redis_url", "redis://:***@h/0", "FIFTYONE_MEDIA_CACHE_REDIS_URL"]
        assert rows["volume"] == ["volume", "default", "default"]
        assert "hunter2" not in done.out + done.err

    def test_json(self, forebay: Forebay, cache: MediaCache) -> None:
        found = forebay("--volume", "v1", "config", "--json").json
        assert found["volume"] == {"value": "v1", "origin": "--volume"}
        assert found["num_workers"] == {"value": 4, "origin": "FIFTYONE_MEDIA_CACHE_NUM_WORKERS"}
        assert found.keys() == type(cache.config).model_fields.keys()


class TestDoctor:
    def test_all_is_well(self, forebay: Forebay, uris: list[str], s3_bucket: str) -> None:
        for uri in (uris[0], f"s3://{s3_bucket}/"):
            done = forebay("doctor", uri, "--cache-size", "1GB")
            assert done.status == 0
            assert [line.split()[:2] for line in done.lines] == [
                ["ok", name]
                for name in ("volume", "redis", "index", "broker", "workers", "space", "access", "source")
            ]

    def test_json(self, forebay: Forebay, uris: list[str]) -> None:
        done = forebay("doctor", uris[0] + ".missing", "--json")
        assert done.status == 1
        assert done.json[-1] == {
            "name": "source",
            "state": "wrong",
            "message": f"{uris[0]}.missing: no such object (404 Not Found: NoSuchKey)",
        }


class TestFrontDoor:
    def test_version(self, forebay: Forebay) -> None:
        assert forebay("--version").out == f"forebay {__version__}\n"

    def test_help(self, forebay: Forebay) -> None:
        done = forebay("--help")
        assert done.status == 0
        assert done.err == ""
        commands = ["prefetch", "get", "ls", "stats", "verify", "clear", "evict", "jobs", "job", "lease"]
        commands += ["config", "doctor", "worker", "up", "fiftyone"]
        for command in commands:
            assert f" {command} " in done.out
            assert forebay(command, "--help").status == 0

    def test_no_command(self, forebay: Forebay) -> None:
        done = forebay()
        assert done.status == 2
        assert "Usage: forebay" in done.out

    def test_python_m(self, forebay: Forebay) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "forebay", "--version"], check=True, capture_output=True, text=True
        )
        assert done.stdout == f"forebay {__version__}\n"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["prefech"], "No such command 'prefech'."),
            (["prefetch", "--foo", "s3://b/a"], "No such option: --foo"),
            (["prefetch"], "Missing argument"),
            (["evict"], "Missing option '--to'."),
            (["ls", "--limit", "0"], "Invalid value for '--limit'"),
        ],
    )
    def test_wrong_usage(self, forebay: Forebay, arguments: list[str], message: str) -> None:
        done = forebay(*arguments)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith(f"error: {message}")
        assert "--help` shows how it is used" in done.err

    def test_settings_before_and_after_the_command(self, forebay: Forebay, tmp_path: Path) -> None:
        for arguments in (
            ["--cache-dir", f"{tmp_path}/x", "config"],
            ["config", "--cache-dir", f"{tmp_path}/x"],
        ):
            assert forebay(*arguments, "--json").json["cache_dir"]["value"] == f"{tmp_path}/x"

    def test_the_embedded_index_needs_no_server(
        self, forebay: Forebay, tmp_path: Path, uris: list[str]
    ) -> None:
        with cache_directory(tmp_path / "embedded") as directory:
            arguments = {"cache_dir": directory, "redis_url": None}
            assert forebay("prefetch", *uris, **arguments).status == 0
            assert forebay("stats", "--json", **arguments).json["current_count"] == 12

    def test_it_starts_quickly_because_it_imports_late(self) -> None:
        heavy = {
            "celery",
            "redis",
            "boto3",
            "pycurl",
            "requests",
            "pydantic",
            "rich.progress",
            "forebay.cache",
        }
        code = (
            "import sys; from forebay.cli.main import app; import typer; typer.main.get_command(app);"
            f"print(sorted(set(sys.modules) & {heavy!r}))"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout == "[]\n"

    def test_help_loads_nothing_that_works(self) -> None:
        # given the help of the command and of all its commands, in one process
        code = (
            "import sys; from forebay.cli.commands import COMMANDS; from forebay.cli.main import run\n"
            "for words in [[], *([name] for name in COMMANDS)]: run([*words, '--help'])\n"
            "print(sorted(set(sys.modules) & set(sys.argv[1:])), file=sys.stderr)"
        )
        works = ["celery", "redis", "boto3", "botocore", "pycurl", "requests", "rich.progress", "IPython"]
        works += ["forebay.cache", "forebay.engine", "forebay.transport"]
        done = subprocess.run(
            [sys.executable, "-c", code, *works], check=True, capture_output=True, text=True
        )

        # then it has loaded what describes, and nothing that works
        assert done.stdout.count("Usage:") > 18
        assert done.stderr == "[]\n"
