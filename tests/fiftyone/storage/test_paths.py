"""Functions of fiftyone.core.storage that look at the text of a path, and at what is there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from forebay.errors import ObjectNotFoundError, SourceError
from tests.fiftyone.places import Places


class TestNames:
    """Functions that look at the text of a path only."""

    @pytest.mark.parametrize(
        ("path", "system", "prefix", "bucket", "separator"),
        [
            ("s3://bucket/a/b.jpg", "S3", "s3://", "bucket", "/"),
            ("gs://bucket/a/b.jpg", "GCS", "gs://", "bucket", "/"),
            ("minio://bucket/a/b.jpg", "MINIO", "minio://", "bucket", "/"),
            ("az://bucket/a/b.jpg", "AZURE", "az://", "bucket", "/"),
            ("abfss://bucket@me.dfs.core.windows.net/b", "AZURE", "abfss://", "bucket", "/"),
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

    def test_a_bucket_that_is_not_there_is_no_empty_one(self, fos: Any, fo: Any, places: Places, store: str):
        missing = f"{store}://there-is-no-such-bucket/x"

        for ask in (fos.list_files, fos.list_subdirs, fo.Dataset.from_images_dir):
            with pytest.raises(ObjectNotFoundError, match="no such bucket 'there-is-no-such-bucket'"):
                ask(missing)
        with pytest.raises(ObjectNotFoundError, match="no such bucket"):
            fo.Dataset.from_images_patt(f"{missing}/*.jpg")
        assert not fos.isdir(missing)
        assert not fos.exists(f"{missing}/a.jpg")
        assert not fos.exists(f"{store}://there-is-no-such-bucket")

    def test_sizes(self, fos: Any, tree: str):
        assert fos.get_file_size(f"{tree}/sub/deep/d.jpg") == len("sub/deep/d.jpg")

    def test_buckets(self, fos: Any, places: Places):
        assert places.s3_bucket in fos.list_buckets(fos.FileSystem.S3)
        assert f"gs://{places.gcs_bucket}" in fos.list_buckets(fos.FileSystem.GCS, abs_paths=True)
        assert "tmp" in fos.list_buckets(fos.FileSystem.LOCAL)
        available = fos.list_available_file_systems()
        systems = [fos.FileSystem.LOCAL, fos.FileSystem.S3, fos.FileSystem.GCS]
        if places.azure is not None:
            systems.append(fos.FileSystem.AZURE)
            assert places.azure[1] in fos.list_buckets(fos.FileSystem.AZURE)
        assert available == systems
