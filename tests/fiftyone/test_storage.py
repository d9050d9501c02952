"""The functions of fiftyone.core.storage on remote paths, over every place that there is."""

from __future__ import annotations

import csv
import json
import logging
import os
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from forebay.cache import MediaCache
from forebay.errors import AccessDeniedError, ForebayError, ObjectNotFoundError, SourceError
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.made_datasets import dataset_of
from tests.fiftyone.places import Places
from tests.servers import Fault
from tests.servers.seaweedfs import S3Server


@pytest.fixture
def fos(fo: Any) -> Any:
    """The module ``fiftyone.core.storage``, with the adapter on."""
    import fiftyone.core.storage as fos

    return fos


@pytest.fixture(params=["s3", "gs", "local"])
def root(request: pytest.FixtureRequest, places: Places) -> str:
    """A folder that can be written, in each place in turn. What holds in all of them is what FiftyOne says
    of local files."""
    return places.root(request.param) + "root"


@pytest.fixture(params=["s3", "gs"])
def cloud(request: pytest.FixtureRequest, places: Places) -> str:
    """A folder in each kind of bucket in turn."""
    return places.root(request.param) + "root"


@pytest.fixture
def tree(fos: Any, root: str) -> str:
    """A folder with a few files and subfolders."""
    names = ["a.jpg", "b.txt", ".hidden", "sub/c.jpg", "sub/deep/d.jpg", "other/e.png"]
    for name in names:
        fos.write_file(name, f"{root}/{name}")
    return root


class TestNames:
    """Functions that look at the text of a path only."""

    @pytest.mark.parametrize(
        ("path", "system", "prefix", "bucket", "separator"),
        [
            ("s3://bucket/a/b.jpg", "S3", "s3://", "bucket", "/"),
            ("gs://bucket/a/b.jpg", "GCS", "gs://", "bucket", "/"),
            ("minio://bucket/a/b.jpg", "MINIO", "minio://", "bucket", "/"),
            ("https://host/a/b.jpg", "HTTP", "https://", "", "/"),
            ("http://host/a/b.jpg", "HTTP", "http://", "", "/"),
            ("/a/b.jpg", "LOCAL", "", "", "/"),
            ("a/b.jpg", "LOCAL", "", "", "/"),
        ],
    )
    def test_what_a_path_is(self, fos: Any, path: str, system: str, prefix: str, bucket: str, separator: str):
        assert fos.get_file_system(path) is fos.FileSystem[system]
        assert fos.split_prefix(path) == (prefix, path[len(prefix) :])
        assert fos.get_bucket_name(path) == bucket
        assert fos.sep(path) == separator
        assert fos.is_local(path) is (system == "LOCAL")
        assert fos.isabs(path) is (path != "a/b.jpg")

    def test_ensure_local_refuses_what_is_remote(self, fos: Any):
        fos.ensure_local("/a")
        with pytest.raises(ValueError, match="requires a local path, but found 's3://b/a'"):
            fos.ensure_local("s3://b/a")

    @pytest.mark.parametrize("function", ["normalize_path", "realpath", "abspath"])
    def test_a_uri_is_absolute(self, fos: Any, function: str):
        assert getattr(fos, function)("s3://bucket/a//b c.jpg") == "s3://bucket/a//b c.jpg"
        assert getattr(fos, function)("https://host/a?x=../y") == "https://host/a?x=../y"

    def test_dots_are_a_part_of_a_name_until_they_are_to_be_resolved(self, fos: Any):
        assert fos.normalize_path("s3://bucket/a/../b.jpg") == "s3://bucket/a/../b.jpg"
        assert fos.abspath("s3://bucket/a/../b.jpg") == "s3://bucket/b.jpg"
        assert fos.normpath("s3://bucket/a//./c/../../b/") == "s3://bucket/b"
        assert fos.normpath("s3://bucket/../../x") == "s3://bucket/x"

    @pytest.mark.parametrize(
        ("parts", "joined"),
        [
            (["s3://bucket", "a", "b.jpg"], "s3://bucket/a/b.jpg"),
            (["s3://bucket/a/", "b.jpg"], "s3://bucket/a/b.jpg"),
            (["s3://bucket/a", "../b/./c.jpg"], "s3://bucket/b/c.jpg"),
            (["s3://bucket/a", "../../../b.jpg"], "s3://bucket/b.jpg"),
            (["s3://bucket/../a", "b.jpg"], "s3://bucket/../a/b.jpg"),
            (["s3://bucket/a", ""], "s3://bucket/a/"),
            (["s3://bucket/a"], "s3://bucket/a"),
            (["s3://bucket/a", "/b"], "/b"),
            (["s3://bucket/a", "gs://other/b", "c"], "gs://other/b/c"),
            (["/data", "s3://bucket/a"], "s3://bucket/a"),
            (["/data", "a", "b"], "/data/a/b"),
        ],
    )
    def test_join(self, fos: Any, parts: list[str], joined: str):
        assert fos.join(*parts) == joined

    def test_commonpath(self, fos: Any):
        assert fos.commonpath(["s3://b/a/x/1.jpg", "s3://b/a/y/2.jpg"]) == "s3://b/a"
        assert fos.commonpath(["s3://b/ab", "s3://b/ac"]) == "s3://b"
        assert fos.commonpath(["s3://b/a", "s3://c/a"]) == ""
        assert fos.commonpath(["s3://b/a", "/b/a"]) == ""
        assert fos.commonpath(["/b/a", "/b/c"]) == "/b"

    def test_the_root_of_a_pattern(self, fos: Any):
        assert fos.get_glob_root("s3://bucket/a/b*/c.jpg") == ("s3://bucket/a", True)
        assert fos.get_glob_root("s3://bucket/a/b.jpg") == ("s3://bucket/a", False)


class TestLooking:
    def test_files_and_folders(self, fos: Any, tree: str):
        assert (fos.exists(f"{tree}/a.jpg"), fos.isfile(f"{tree}/a.jpg")) == (True, True)
        assert not fos.isdir(f"{tree}/a.jpg")
        for folder in (tree, f"{tree}/sub", f"{tree}/sub/"):
            assert (fos.exists(folder), fos.isfile(folder), fos.isdir(folder)) == (True, False, True)
        for nothing in (f"{tree}/missing", f"{tree}/su", f"{tree}/a.jp"):
            assert (fos.exists(nothing), fos.isfile(nothing), fos.isdir(nothing)) == (False, False, False)

    def test_urls_can_be_files(self, fos: Any, places: Places):
        url = places.put("http", "a/b.jpg", b"hello")

        assert (fos.exists(url), fos.isfile(url), fos.isdir(url)) == (True, True, False)
        assert not fos.exists(url + "2")
        assert not fos.isdir(places.root("http") + "a")
        assert fos.get_file_size(url) == 5
        with pytest.raises(SourceError, match="URLs cannot be listed"):
            fos.list_files(places.root("http") + "a")

    def test_listing(self, fos: Any, tree: str):
        assert fos.list_files(tree) == ["a.jpg", "b.txt"]
        assert fos.list_files(tree + "/") == ["a.jpg", "b.txt"]
        assert fos.list_files(tree, abs_paths=True) == [f"{tree}/a.jpg", f"{tree}/b.txt"]
        assert fos.list_files(tree, include_hidden_files=True) == [".hidden", "a.jpg", "b.txt"]
        assert fos.list_files(tree, recursive=True) == [
            "a.jpg",
            "b.txt",
            "other/e.png",
            "sub/c.jpg",
            "sub/deep/d.jpg",
        ]
        assert sorted(fos.list_files(tree, sort=False)) == ["a.jpg", "b.txt"]
        assert fos.list_files(f"{tree}/missing") == []

    def test_listing_with_metadata(self, fos: Any, tree: str):
        first, _ = fos.list_files(tree, return_metadata=True)

        assert (first["name"], first["size"], first["filepath"]) == ("a.jpg", 5, "a.jpg")
        assert abs((datetime.now() - first["last_modified"]).total_seconds()) < 3600
        [deep] = fos.list_files(f"{tree}/sub/deep", abs_paths=True, return_metadata=True)
        assert deep["filepath"] == f"{tree}/sub/deep/d.jpg"

    def test_subfolders(self, fos: Any, tree: str):
        assert fos.list_subdirs(tree) == ["other", "sub"]
        assert fos.list_subdirs(tree, recursive=True) == ["other", "sub", "sub/deep"]
        assert fos.list_subdirs(f"{tree}/sub", abs_paths=True) == [f"{tree}/sub/deep"]

    def test_patterns(self, fos: Any, tree: str):
        assert fos.get_glob_matches(f"{tree}/*.jpg") == [f"{tree}/a.jpg"]
        assert fos.get_glob_matches(f"{tree}/*/?.[jp][pn]g") == [f"{tree}/other/e.png", f"{tree}/sub/c.jpg"]
        assert fos.get_glob_matches(f"{tree}/*/deep/*") == [f"{tree}/sub/deep/d.jpg"]
        assert fos.get_glob_matches(f"{tree}/*") == [f"{tree}/a.jpg", f"{tree}/b.txt"]
        assert fos.get_glob_matches(f"{tree}/a.jpg") == [f"{tree}/a.jpg"]
        assert fos.get_glob_matches(f"{tree}/z*") == []

    def test_a_folder_that_is_not_there_is_empty(self, fos: Any, root: str):
        assert fos.list_files(f"{root}/none") == []
        assert not fos.isdir(f"{root}/none")

    @pytest.mark.parametrize("place", ["s3", "gs"])
    def test_a_bucket_that_is_not_there_is_no_empty_one(self, fos: Any, fo: Any, places: Places, place: str):
        missing = f"{place}://there-is-no-such-bucket/x"

        for ask in (fos.list_files, fos.list_subdirs, fo.Dataset.from_images_dir):
            with pytest.raises(ObjectNotFoundError, match="no such bucket 'there-is-no-such-bucket'"):
                ask(missing)
        with pytest.raises(ObjectNotFoundError, match="no such bucket"):
            fo.Dataset.from_images_patt(f"{missing}/*.jpg")
        assert not fos.isdir(missing)
        assert not fos.exists(f"{missing}/a.jpg")
        assert not fos.exists(f"{place}://there-is-no-such-bucket")

    def test_sizes(self, fos: Any, tree: str):
        assert fos.get_file_size(f"{tree}/sub/deep/d.jpg") == len("sub/deep/d.jpg")

    def test_buckets(self, fos: Any, places: Places):
        assert places.s3_bucket in fos.list_buckets(fos.FileSystem.S3)
        assert f"gs://{places.gcs_bucket}" in fos.list_buckets(fos.FileSystem.GCS, abs_paths=True)
        assert "tmp" in fos.list_buckets(fos.FileSystem.LOCAL)
        available = fos.list_available_file_systems()
        assert available == [fos.FileSystem.LOCAL, fos.FileSystem.S3, fos.FileSystem.GCS]


class TestReading:
    def test_through_the_cache(self, fos: Any, places: Places, place: str, media_cache: MediaCache):
        path = places.put(place, "a.txt", "grüße\n".encode())

        assert fos.read_file(path) == "grüße\n"
        assert fos.read_file(path, binary=True) == "grüße\n".encode()
        with fos.open_file(path) as file:
            assert list(file) == ["grüße\n"]
        with fos.open_file(path, "rb") as file:
            assert file.read(2) == b"gr"
        assert media_cache.stats([path])["current_count"] == 1

    def test_many_at_once(self, fos: Any, places: Places):
        paths = places.mixed({f"{i}.txt": b"%d" % i for i in range(20)})

        assert fos.read_files(paths) == [str(i) for i in range(20)]
        with fos.open_files(paths, "rb") as files:
            assert [file.read() for file in files] == [b"%d" % i for i in range(20)]

    def test_failures_are_raised_or_skipped(self, fos: Any, places: Places, caplog: pytest.LogCaptureFixture):
        paths = [places.put("s3", "a.txt", b"a"), places.root("s3") + "missing.txt"]

        with pytest.raises(ObjectNotFoundError, match=r"missing\.txt"):
            fos.read_files(paths)
        assert fos.read_files(paths, skip_failures="ignore") == ["a", None]
        assert fos.open_files(paths, skip_failures=True)[1] is None

    def test_progress_is_told_to_a_callback(self, fos: Any, places: Places):
        paths = places.mixed({f"{i}.txt": b"x" for i in range(5)})
        seen: list[int] = []

        fos.read_files(paths, progress=lambda bar: seen.append(bar.iteration))

        assert seen[-1] == 5

    def test_parts_are_fetched_as_they_are_read(
        self, fos: Any, places: Places, place: str, media_cache: MediaCache
    ):
        body = bytes(range(256)) * 8000
        path = places.put(place, "large.bin", body)

        file = fos.open_ranged(path)
        file.seek(1_000_000)
        middle = file.read(1000)
        file.seek(-10, 2)
        end = file.read()
        file.release()

        assert (middle, end) == (body[1_000_000:1_001_000], body[-10:])
        assert media_cache.stats()["current_count"] == 0, "nothing was downloaded as a whole"

    def test_parts_of_what_is_cached_come_from_there(self, fos: Any, places: Places, media_cache: MediaCache):
        path = places.put("s3", "a.bin", b"hello")
        media_cache.local_path(path)
        places.s3_server.delete(places.s3_bucket, "a.bin")

        file = fos.open_ranged(path)

        assert file.read() == b"hello"
        file.release()

    def test_structured_files(self, fos: Any, root: str):
        fos.write_json({"a": [1, 2]}, f"{root}/a.json", pretty_print=True)
        fos.write_ndjson([{"a": 1}, {"b": 2}], f"{root}/a.ndjson")
        fos.write_yaml({"a": 1}, f"{root}/a.yaml")

        assert fos.read_json(f"{root}/a.json") == fos.load_json(f"{root}/a.json") == {"a": [1, 2]}
        assert fos.read_ndjson(f"{root}/a.ndjson") == fos.load_ndjson(f"{root}/a.ndjson")
        assert fos.read_yaml(f"{root}/a.yaml") == {"a": 1}
        assert fos.load_json('{"a": 1}') == {"a": 1}

    def test_what_is_no_json_is_named_as_the_user_knows_it(self, fos: Any, places: Places, place: str):
        path = places.put(place, "a.json", b"no json")

        with pytest.raises(ValueError, match=f"Unable to parse JSON file '{path}'"):
            fos.read_json(path)


class TestWriting:
    def test_text_and_bytes(self, fos: Any, root: str):
        fos.write_file("grüße", f"{root}/a.txt")
        fos.write_file(b"\x00\xff", f"{root}/b.bin")

        assert fos.read_file(f"{root}/a.txt") == "grüße"
        assert fos.read_file(f"{root}/b.bin", binary=True) == b"\x00\xff"

    def test_a_file_appears_when_it_is_closed(self, fos: Any, cloud: str):
        with fos.open_file(f"{cloud}/a.csv", "w") as file:
            csv.writer(file).writerow(["a", "b"])
            assert not fos.exists(f"{cloud}/a.csv")

        assert fos.read_file(f"{cloud}/a.csv") == "a,b\n"

    def test_a_file_appears_when_it_is_closed_without_a_with_block(self, fos: Any, cloud: str):
        file = fos.open_file(f"{cloud}/a.bin", "wb")
        file.write(b"hello")
        file.close()
        file.close()

        assert fos.read_file(f"{cloud}/a.bin", binary=True) == b"hello"

    def test_nothing_appears_when_the_block_raises(self, fos: Any, cloud: str):
        def write() -> None:
            with fos.open_file(f"{cloud}/a.txt", "w") as file:
                file.write("half of")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            write()

        assert not fos.exists(f"{cloud}/a.txt")

    def test_nothing_appears_of_many_files_when_the_block_raises(self, fos: Any, cloud: str):
        paths = [f"{cloud}/{i}.txt" for i in range(3)]

        def write() -> None:
            with fos.open_files(paths, "w") as files:
                for file in files:
                    file.write("half of")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            write()

        assert fos.list_files(cloud) == []

    def test_many_files(self, fos: Any, cloud: str):
        paths = [f"{cloud}/{i}.txt" for i in range(20)]

        with fos.open_files(paths, "w") as files:
            for i, file in enumerate(files):
                file.write(str(i))

        assert fos.read_files(paths) == [str(i) for i in range(20)]

    def test_of_many_files_the_one_that_cannot_be_written_is_not_passed_over(
        self, fos: Any, places: Places, caplog: pytest.LogCaptureFixture
    ):
        paths = [places.root("s3") + "a.txt", places.root("http") + "b.txt"]

        with pytest.raises(SourceError, match="can only be read"), fos.open_files(paths, "w"):
            pass
        with fos.open_files(paths, "w", skip_failures=True):
            pass

        assert fos.exists(paths[0])

    def test_other_modes_are_refused(self, fos: Any, cloud: str):
        with pytest.raises(ValueError, match="cannot be opened with mode 'a'"):
            fos.open_file(f"{cloud}/a.txt", "a")

    def test_urls_cannot_be_written(self, fos: Any, places: Places):
        with pytest.raises(SourceError, match="can only be read"):
            fos.write_file("hello", places.root("http") + "a.txt")

    def test_what_was_cached_is_not_served_stale(self, fos: Any, cloud: str):
        path = f"{cloud}/a.txt"
        for content in ("before", "after it"):
            fos.write_file(content, path)
            assert fos.read_file(path) == content

        fos.write_file("third", f"{cloud}/b.txt")
        fos.copy_file(f"{cloud}/b.txt", path)
        assert fos.read_file(path) == "third"

        fos.delete_file(path)
        with pytest.raises(FileNotFoundError):
            fos.read_file(path)

    def test_a_busy_server_is_asked_again(
        self, fos: Any, s3_server: S3Server, s3_bucket: str, use_cache: UseCache, monkeypatch: Any
    ):
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            use_cache()
            proxy.fault(None, Fault.s3(503, "SlowDown"), times=2, method="PUT")

            fos.write_file("hello", f"s3://{s3_bucket}/a.txt")

            assert proxy.count("PUT") == 3


class TestCopying:
    PLACES = ("s3", "gs", "local")

    @pytest.mark.parametrize("target", PLACES)
    @pytest.mark.parametrize("source", [*PLACES, "http"])
    def test_from_anywhere_to_anywhere(self, fos: Any, places: Places, source: str, target: str):
        inpath = places.put(source, "in/a b+é.jpg", b"hello")
        outpath = places.root(target) + "out/deep/c d+é.jpg"

        fos.copy_file(inpath, outpath)

        assert fos.read_file(outpath, binary=True) == b"hello"
        assert fos.exists(inpath)

    @pytest.mark.parametrize("target", PLACES)
    @pytest.mark.parametrize("source", PLACES)
    def test_a_move_leaves_nothing_behind(self, fos: Any, places: Places, source: str, target: str):
        inpath = places.put(source, "in/a.jpg", b"hello")
        outpath = places.root(target) + "out/b.jpg"

        fos.move_file(inpath, outpath)

        assert fos.read_file(outpath, binary=True) == b"hello"
        assert not fos.exists(inpath)

    def test_a_move_that_cannot_be_completed_keeps_the_original(self, fos: Any, places: Places):
        inpath = places.put("s3", "a.jpg", b"hello")

        with pytest.raises(SourceError, match="can only be read"):
            fos.move_file(inpath, places.root("http") + "a.jpg")

        assert fos.exists(inpath)

    def test_what_cannot_be_deleted_is_not_moved(self, fos: Any, places: Places):
        url = places.put("http", "a.jpg", b"hello")

        with pytest.raises(SourceError, match="can only be read"):
            fos.move_file(url, places.root("s3") + "a.jpg")

        assert not fos.exists(places.root("s3") + "a.jpg")

    def test_to_itself_does_no_harm(self, fos: Any, places: Places):
        path = places.put("s3", "a.jpg", b"hello")

        fos.copy_file(path, path)
        fos.move_file(path, path)

        assert fos.read_file(path, binary=True) == b"hello"

    def test_a_missing_file(self, fos: Any, places: Places, tmp_path: Path):
        for place in ("s3", "gs", "http"):
            with pytest.raises(FileNotFoundError, match="missing"):
                fos.copy_file(places.root(place) + "missing.jpg", str(tmp_path / "a.jpg"))
        with pytest.raises(FileNotFoundError):
            fos.copy_file(str(tmp_path / "missing.jpg"), places.root("s3") + "a.jpg")
        assert list(tmp_path.glob("*.jpg")) == []

    def test_many_files_and_back(self, fos: Any, places: Places, cloud: str, tmp_path: Path):
        sources = places.mixed({f"{i}.txt": b"%d" % i for i in range(20)})
        there = [f"{cloud}/{i}.txt" for i in range(20)]
        back = [str(tmp_path / "back" / f"{i}.txt") for i in range(20)]

        fos.copy_files(sources, there)
        fos.move_files(there, back, progress=False)

        assert [Path(path).read_bytes() for path in back] == [b"%d" % i for i in range(20)]
        assert fos.list_files(cloud) == []
        assert all(map(fos.exists, sources))

    def test_failures_are_raised_or_skipped(
        self, fos: Any, places: Places, cloud: str, caplog: pytest.LogCaptureFixture
    ):
        inpaths = [places.put("s3", "a.txt", b"a"), places.root("s3") + "missing.txt"]
        outpaths = [f"{cloud}/a.txt", f"{cloud}/missing.txt"]

        with pytest.raises(ObjectNotFoundError):
            fos.copy_files(inpaths, outpaths)
        fos.copy_files(inpaths, outpaths, skip_failures=True)
        fos.delete_files([*outpaths], skip_failures="ignore")

        assert fos.list_files(cloud) == []

    def test_a_copy_within_a_store_does_not_come_by_here(
        self, fos: Any, s3_server: S3Server, s3_bucket: str, use_cache: UseCache, monkeypatch: Any
    ):
        s3_server.put(s3_bucket, "a.bin", b"x" * 100_000)
        with s3_server.proxied() as proxy:
            for name, value in s3_server.environment(proxy.endpoint).items():
                monkeypatch.setenv(name, value)
            use_cache()

            fos.copy_file(f"s3://{s3_bucket}/a.bin", f"s3://{s3_bucket}/b.bin")

            assert proxy.count("GET") == 0
            assert fos.get_file_size(f"s3://{s3_bucket}/b.bin") == 100_000


@pytest.mark.parametrize("scheme", ["s3", "minio"])
@pytest.mark.usefixtures("s3_environment")
def test_with_a_wrong_secret_each_function_says_what_it_was_refused(
    fos: Any, fo: Any, s3_server: S3Server, s3_bucket: str, use_cache: UseCache, monkeypatch: Any, scheme: str
):
    # Given an object, and a secret that does not belong to its key
    s3_server.put(s3_bucket, "a.jpg", b"a")
    secret = "a-secret-of-somebody-else"
    minio = {
        "aws_access_key_id": s3_server.access_key,
        "aws_secret_access_key": secret,
        "endpoint_url": s3_server.endpoint,
    }
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    use_cache(extra_client_kwargs=json.dumps({"minio": minio}))
    uri, target = f"{scheme}://{s3_bucket}/a.jpg", f"{scheme}://{s3_bucket}/b.jpg"
    dataset = fo.Dataset()
    dataset.add_sample(fo.Sample(filepath=__file__))

    def refused(ask: Callable[[], object]) -> str:
        with pytest.raises(AccessDeniedError) as caught:
            ask()
        assert secret not in str(caught.value)
        return str(caught.value)

    # Then what has a body tells the reason, and what has none does not guess
    listed = refused(lambda: fos.list_buckets(fos.FileSystem[scheme.upper()]))
    assert listed.startswith(f"{scheme}://: access denied (403 Forbidden: SignatureDoesNotMatch)")
    assert "the secret key does not belong to the access key" in refused(lambda: fos.read_file(uri))
    unknown = "the server does not say why: check that they are the right ones, and what they may do"
    for ask in (
        lambda: fos.exists(uri),
        lambda: fos.delete_file(uri),
        lambda: fos.copy_file(uri, target),
    ):
        message = refused(ask)
        assert message.startswith(f"{uri}: access denied (403 Forbidden) with ")
        assert message.endswith(unknown)
    message = refused(lambda: fos.upload_media(dataset, f"{scheme}://{s3_bucket}/up"))
    assert message.startswith(f"{scheme}://{s3_bucket}/up/test_storage.py: access denied")
    assert message.endswith(unknown)


class TestDeleting:
    def test_one_file(self, fos: Any, tree: str):
        fos.delete_file(f"{tree}/a.jpg")

        assert fos.list_files(tree) == ["b.txt"]

    def test_a_missing_file(self, fos: Any, tree: str):
        with pytest.raises(FileNotFoundError, match="missing"):
            fos.delete_file(f"{tree}/missing")

    def test_many(self, fos: Any, tree: str):
        fos.delete_files([f"{tree}/a.jpg", f"{tree}/sub/c.jpg"])

        assert fos.list_files(tree, recursive=True) == ["b.txt", "other/e.png", "sub/deep/d.jpg"]

    def test_a_folder(self, fos: Any, tree: str):
        fos.write_file("x", f"{tree}/sub2/f.jpg")

        fos.delete_dir(f"{tree}/sub")

        assert fos.list_files(tree, recursive=True) == ["a.jpg", "b.txt", "other/e.png", "sub2/f.jpg"]
        fos.delete_dir(f"{tree}/missing")

    def test_never_a_whole_bucket(self, fos: Any, places: Places):
        path = places.put("s3", "a.jpg", b"hello")

        for bucket in (places.root("s3"), places.root("s3").rstrip("/"), places.root("s3") + "/"):
            with pytest.raises(ValueError, match="is a whole bucket, which is not deleted"):
                fos.delete_dir(bucket)
        assert fos.exists(path)

    def test_nothing_of_a_url(self, fos: Any, places: Places):
        url = places.put("http", "a.jpg", b"hello")

        with pytest.raises(SourceError, match="can only be read"):
            fos.delete_file(url)
        assert fos.exists(url)


class TestFolders:
    def test_need_not_be_made(self, fos: Any, cloud: str):
        fos.ensure_dir(cloud)
        fos.ensure_basedir(f"{cloud}/a.jpg")
        fos.ensure_empty_dir(cloud)

        assert not fos.isdir(cloud)

    def test_can_be_emptied(self, fos: Any, tree: str):
        with pytest.raises(ValueError, match="not empty"):
            fos.ensure_empty_dir(tree)
        fos.ensure_empty_dir(tree, cleanup=True)

        assert fos.list_files(tree, recursive=True) == []

    @pytest.mark.parametrize("target", ["s3", "gs", "local"])
    def test_are_copied(self, fos: Any, places: Places, tree: str, target: str):
        outdir = places.root(target) + "copy"
        fos.write_file("old", f"{outdir}/old.txt")

        fos.copy_dir(tree, outdir, overwrite=False)
        assert fos.list_files(outdir, recursive=True) == [
            "a.jpg",
            "b.txt",
            "old.txt",
            "other/e.png",
            "sub/c.jpg",
            "sub/deep/d.jpg",
        ]

        fos.copy_dir(tree, outdir)
        assert fos.list_files(outdir) == ["a.jpg", "b.txt"]
        assert fos.list_files(tree) == ["a.jpg", "b.txt"]

    @pytest.mark.parametrize("target", ["s3", "gs", "local"])
    def test_are_moved(self, fos: Any, places: Places, tree: str, target: str):
        outdir = places.root(target) + "moved"

        fos.move_dir(tree, outdir)

        assert not fos.exists(tree)
        assert fos.list_files(outdir, include_hidden_files=True) == [".hidden", "a.jpg", "b.txt"]
        assert fos.read_file(f"{outdir}/sub/deep/d.jpg") == "sub/deep/d.jpg"

    def test_a_folder_within_another_does_not_delete_itself(self, fos: Any, cloud: str):
        fos.write_file("a", f"{cloud}/sub/a.txt")

        for move in (fos.copy_dir, fos.move_dir):
            with pytest.raises(ValueError, match="lie within each other"):
                move(f"{cloud}/sub", cloud)

        assert fos.read_file(f"{cloud}/sub/a.txt") == "a"

    def test_a_mistyped_folder_costs_nothing(self, fos: Any, cloud: str):
        fos.write_file("a", f"{cloud}/out/a.txt")

        fos.copy_dir(f"{cloud}/mistyped", f"{cloud}/out")

        assert fos.exists(f"{cloud}/out/a.txt")

    def test_names_do_not_lead_outside(self, fos: Any, gcs_server: Any, places: Places, tmp_path: Path):
        # Given a key that a file system would take for a way out
        gcs_server.put(places.gcs_bucket, "in/../../evil.txt", b"x")

        # When its folder is copied
        with pytest.raises(ValueError, match="would be written outside"):
            fos.copy_dir(places.root("gs") + "in", str(tmp_path / "deep" / "out"))

        # Then nothing lies outside
        assert list(tmp_path.rglob("evil.txt")) == []

    @pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
    def test_are_packed_and_unpacked(self, fos: Any, tree: str, name: str):
        base = tree.rpartition("/")[0]

        fos.make_archive(f"{tree}/sub", f"{base}/archives/{name}")
        fos.extract_archive(f"{base}/archives/{name}", f"{base}/extracted")
        fos.extract_archive(f"{base}/archives/{name}", cleanup=True)

        for outdir in (f"{base}/extracted", f"{base}/archives"):
            assert fos.list_files(outdir, recursive=True) == ["sub/c.jpg", "sub/deep/d.jpg"]
        assert fos.exists(f"{tree}/sub/c.jpg")

    def test_are_removed_after_packing_when_that_is_wanted(self, fos: Any, tree: str, tmp_path: Path):
        archive = str(tmp_path / "packed" / "a.zip")
        fos.ensure_basedir(archive)

        fos.make_archive(f"{tree}/sub", archive, cleanup=True)

        assert "sub/c.jpg" in zipfile.ZipFile(archive).namelist()
        assert not fos.exists(f"{tree}/sub")


@pytest.fixture
def dataset(fo: Any, photo_paths: list[Path]) -> Any:
    """Twelve local photographs, in subfolders, some of which have the same file name."""
    return dataset_of(fo, photo_paths)


class TestUploadMedia:
    def test_gives_the_remote_paths_in_order(self, fos: Any, dataset: Any, cloud: str):
        local = dataset.values("filepath")

        paths = fos.upload_media(dataset, cloud)

        assert dataset.values("filepath") == local
        assert len(set(paths)) == len(local), "the same file name twice makes two files"
        assert sorted(paths) == sorted(fos.list_files(cloud, abs_paths=True))
        for path, original in zip(paths, local, strict=True):
            assert fos.read_file(path, binary=True) == Path(original).read_bytes()

    def test_keeps_subfolders(self, fos: Any, dataset: Any, cloud: str, photo_paths: list[Path]):
        top = Path(fos.commonpath(map(str, photo_paths)))

        paths = fos.upload_media(dataset, cloud + "/", rel_dir=str(top))

        assert paths == [f"{cloud}/{path.relative_to(top).as_posix()}" for path in photo_paths]

    def test_updates_the_samples(self, fos: Any, dataset: Any, cloud: str):
        view = dataset.limit(5)

        paths = fos.upload_media(view, cloud, update_filepaths=True)

        assert view.values("filepath") == paths
        assert [fos.is_local(path) for path in dataset.values("filepath")] == [False] * 5 + [True] * 7
        assert Path(dataset.first().local_path).read_bytes() == fos.read_file(paths[0], binary=True)
        # A second time, there is nothing to do
        assert fos.upload_media(view, cloud, update_filepaths=True) == paths

    def test_what_stays_there_keeps_its_name(self, fo: Any, fos: Any, cloud: str, tmp_path: Path):
        # Given a dataset with a remote photograph, and a local one of the same name
        fos.write_file("remote", f"{cloud}/a.jpg")
        (tmp_path / "a.jpg").write_text("local")
        dataset = fo.Dataset()
        dataset.add_samples(
            [fo.Sample(filepath=str(tmp_path / "a.jpg")), fo.Sample(filepath=f"{cloud}/a.jpg")]
        )

        # When its media are uploaded into the folder of the remote one
        paths = fos.upload_media(dataset, cloud)

        # Then neither is taken for the other
        assert paths == [f"{cloud}/a-2.jpg", f"{cloud}/a.jpg"]
        assert fos.read_files(paths) == ["local", "remote"]

    def test_uploads_again_what_is_there_only_when_told(self, fos: Any, dataset: Any, cloud: str):
        paths = fos.upload_media(dataset, cloud)
        fos.write_file("something else", paths[0])

        fos.upload_media(dataset, cloud)
        assert fos.read_file(paths[0]) == "something else"

        fos.upload_media(dataset, cloud, overwrite=True)
        assert fos.read_file(paths[0], binary=True) == Path(dataset.first().filepath).read_bytes()

    def test_can_fill_the_cache(self, fos: Any, dataset: Any, cloud: str, media_cache: MediaCache):
        fos.upload_media(dataset, cloud, update_filepaths=True, cache=True)

        assert media_cache.stats(dataset.values("filepath"))["current_count"] == 12

    def test_does_not_fill_it_otherwise(self, fos: Any, dataset: Any, cloud: str, media_cache: MediaCache):
        fos.upload_media(dataset, cloud)

        assert media_cache.stats()["current_count"] == 0

    def test_failures_are_raised_or_skipped(
        self, fo: Any, fos: Any, cloud: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ):
        (tmp_path / "a.jpg").write_text("a")
        dataset = fo.Dataset()
        dataset.add_samples([fo.Sample(filepath=str(tmp_path / name)) for name in ("a.jpg", "missing.jpg")])

        with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
            fos.upload_media(dataset, cloud)
        paths = fos.upload_media(dataset, cloud, skip_failures=True, update_filepaths=True)

        assert paths == [f"{cloud}/a.jpg", None]
        assert dataset.values("filepath") == [f"{cloud}/a.jpg", str(tmp_path / "missing.jpg")]

    def test_other_media_fields(self, fo: Any, fos: Any, cloud: str, tmp_path: Path):
        for name in ("1.png", "2.png"):
            (tmp_path / name).write_text(name)
        dataset = fo.Dataset()
        detections = [
            fo.Detection(label="x", bounding_box=[0, 0, 1, 1], mask_path=str(tmp_path / name))
            for name in ("1.png", "2.png")
        ]
        dataset.add_samples(
            [
                fo.Sample(filepath=str(tmp_path / "a.jpg"), objects=fo.Detections(detections=detections)),
                fo.Sample(filepath=str(tmp_path / "b.jpg")),
            ]
        )

        field = "objects.detections.mask_path"
        paths = fos.upload_media(dataset, cloud, media_field=field, update_filepaths=True)

        assert paths == [[f"{cloud}/1.png", f"{cloud}/2.png"], None]
        assert dataset.values(field) == paths

    def test_from_one_store_to_another(self, fos: Any, remote_dataset: Any, cloud: str, places: Places):
        paths = fos.upload_media(remote_dataset, cloud, progress=True)

        for path, original in zip(paths, remote_dataset.values("filepath"), strict=True):
            assert fos.read_file(path, binary=True) == places.contents[original]

    def test_refuses_what_it_does_not_know(
        self, fos: Any, dataset: Any, cloud: str, places: Places, tmp_path: Path
    ):
        with pytest.raises(ValueError, match="is not a remote path such as s3://bucket/folder"):
            fos.upload_media(dataset, str(tmp_path))
        with pytest.raises(ValueError, match="cache='move' is not allowed"):
            fos.upload_media(dataset, cloud, cache="move")
        with pytest.raises(ForebayError, match="can only be read"):
            fos.upload_media(dataset, places.root("http") + "a", overwrite=True)


class TestGetURL:
    def test_anyone_can_read(self, fos: Any, cloud: str):
        fos.write_file("hello", f"{cloud}/a b.txt")

        assert requests.get(fos.get_url(f"{cloud}/a b.txt"), timeout=10).text == "hello"

    def test_anyone_can_write_what_was_signed_for_that(self, fos: Any, places: Places):
        path = places.root("s3") + "a.txt"

        requests.put(fos.get_url(path, method="PUT", hours=1), data=b"hello", timeout=10).raise_for_status()

        assert fos.read_file(path) == "hello"

    def test_it_expires(self, fos: Any, places: Places):
        assert "X-Amz-Expires=5400&" in fos.get_url(places.root("s3") + "a.txt", hours=1.5)
        with pytest.raises(SourceError, match="7 days"):
            fos.get_url(places.root("s3") + "a.txt", hours=1000)

    def test_a_url_is_its_own(self, fos: Any):
        assert fos.get_url("https://host/a.jpg?x=1") == "https://host/a.jpg?x=1"

    def test_local_files_have_none(self, fos: Any):
        with pytest.raises(ValueError, match=r"Cannot get a URL for local file '/a\.jpg'"):
            fos.get_url("/a.jpg")


class TestLocal:
    """Given local paths, a function is FiftyOne's own."""

    CALLS: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
        ("exists", ("/a",), {}),
        ("isfile", ("/a",), {}),
        ("isdir", ("/a",), {}),
        ("join", ("/a", "b", "c"), {}),
        ("sep", ("/a",), {}),
        ("normalize_path", ("~/a",), {}),
        ("abspath", ("a/..",), {}),
        ("realpath", ("a/..",), {}),
        ("normpath", ("a\\b",), {}),
        ("get_file_size", ("/a",), {}),
        ("ensure_dir", ("/a",), {}),
        ("ensure_basedir", (), {"path": "/a/b"}),
        ("ensure_empty_dir", ("/a",), {"cleanup": True}),
        ("delete_dir", ("/a",), {}),
        ("_delete_file", ("/a",), {}),
        ("_read_file", ("/a",), {"binary": True}),
        ("_copy_file", ("/a", "/b"), {"cleanup": True}),
        ("write_file", (b"x", "/a"), {}),
        ("read_json", ("/a",), {}),
        ("write_yaml", ({"a": 1}, "/a"), {"sort_keys": True}),
        ("list_subdirs", ("/a",), {"abs_paths": True, "recursive": True}),
        ("get_glob_matches", ("/a/*",), {}),
        ("make_archive", ("/a", "/b.zip"), {"cleanup": True}),
        ("extract_archive", ("/b.zip",), {"outdir": "/c", "cleanup": True}),
        ("_run", (len, [("/a",)]), {"return_results": False, "progress": None}),
    )

    @pytest.mark.parametrize(("name", "args", "kwargs"), CALLS, ids=[name for name, *_ in CALLS])
    def test_it_is_called_as_it_was(self, fos: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]):
        import inspect

        # Given what the adapter does around a function, and a stand-in for the function
        wrapper: Callable[..., Any] = getattr(fos, name)
        ours = inspect.getclosurevars(wrapper).nonlocals["function"]
        calls: list[inspect.BoundArguments] = []
        signature = inspect.signature(wrapper)

        def original(*args: Any, **kwargs: Any) -> str:
            calls.append(signature.bind(*args, **kwargs))
            return "the original's"

        # When it is called with local paths
        result = ours(original, *args, **kwargs)

        # Then that is all that happens
        assert result in ("the original's", None)
        [call] = calls
        expected = signature.bind(*args, **kwargs)
        call.apply_defaults()
        expected.apply_defaults()
        assert call.arguments == expected.arguments


@pytest.mark.parametrize(
    ("fiftyones", "ours", "threads"), [(None, 2, 2), (None, 40, 40), (3, 40, 3)], ids=str
)
def test_as_many_files_are_handled_at_a_time_as_is_set(
    fiftyones: int | None,
    ours: int,
    threads: int,
    fo: Any,
    use_cache: UseCache,
    monkeypatch: pytest.MonkeyPatch,
):
    """FiftyOne's own setting comes first, then the cache's."""
    from forebay.fiftyone.storage.concurrency import workers

    use_cache(num_workers=ours)
    monkeypatch.setattr(fo.config, "default_thread_pool_workers", fiftyones)

    assert workers() == threads


def test_where_nothing_is_set_sixteen_files_are_handled_at_a_time(
    fo: Any, use_cache: UseCache, monkeypatch: pytest.MonkeyPatch
):
    """Or as many as there are CPUs, if that is more."""
    from forebay.fiftyone.storage.concurrency import workers

    use_cache(num_workers="")
    monkeypatch.setattr(fo.config, "default_thread_pool_workers", None)

    assert workers() == max(16, os.cpu_count() or 1)


def test_messages_hold_no_secrets(fos: Any, places: Places, caplog: pytest.LogCaptureFixture):
    for ours in ("forebay", "fiftyone"):
        caplog.set_level(logging.DEBUG, logger=ours)
    caplog.set_level(logging.INFO, logger="urllib3")
    url = places.root("http") + "missing.txt?X-Amz-Signature=secret"

    with pytest.raises(FileNotFoundError) as caught:
        fos.read_file(url)
    fos.read_files([url], skip_failures=True)

    assert "secret" not in str(caught.value)
    assert "missing.txt" in caplog.text
    assert "secret" not in caplog.text
