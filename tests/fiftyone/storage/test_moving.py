"""Copying, moving and deleting files and folders by fiftyone.core.storage."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forebay.errors import AccessDeniedError, ObjectNotFoundError, SourceError
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import STORES, Places
from tests.servers.seaweedfs import S3Server


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
    assert message.startswith(f"{scheme}://{s3_bucket}/up/test_moving.py: access denied")
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

    @pytest.mark.parametrize("target", [*STORES, "local"])
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

    @pytest.mark.parametrize("target", [*STORES, "local"])
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
