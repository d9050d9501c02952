"""A dataset by the alias of a MinIO server, and one over two servers."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import DownloadError
from tests.fiftyone.conftest import UseCache
from tests.servers.seaweedfs import S3Server


@pytest.fixture
def lab(s3_server: S3Server, use_cache: UseCache, monkeypatch: pytest.MonkeyPatch) -> MediaCache:
    """The cache of a process whose MinIO server is called ``lab``."""
    for name, value in (
        ("ENDPOINT_URL", s3_server.endpoint),
        ("ACCESS_KEY", s3_server.access_key),
        ("SECRET_ACCESS_KEY", s3_server.secret_key),
        ("ALIAS", "lab"),
    ):
        monkeypatch.setenv(f"MINIO_{name}", value)
    return use_cache()


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str, photos: dict[str, bytes]) -> list[str]:
    return [s3_server.put(s3_bucket, name, body).replace("s3://", "lab://") for name, body in photos.items()]


class TestAlias:
    def test_a_dataset(self, fo: Any, lab: MediaCache, uris: list[str], photos: dict[str, bytes]):
        dataset = fo.Dataset()
        dataset.add_samples([fo.Sample(filepath=uri) for uri in uris])
        assert dataset.values("filepath") == uris
        dataset.compute_metadata(progress=False)
        assert None not in dataset.values("metadata.width")
        dataset.download_media(progress=False)
        assert [Path(path).read_bytes() for path in dataset.get_local_paths()] == list(photos.values())
        assert Path(dataset.first().local_path).parts[-4:-2] == ("minio", uris[0].split("/")[2])
        assert dataset.cache_stats()["current_count"] == len(uris)

    def test_a_sample_that_fails_is_named(self, fo: Any, lab: MediaCache, uris: list[str]):
        dataset = fo.Dataset()
        dataset.add_sample(fo.Sample(filepath=f"{uris[0]}.missing.jpg"))
        with pytest.raises(DownloadError, match=dataset.first().id):
            dataset.download_media(skip_failures=False, progress=False)

    def test_the_app_links_to_a_url_of_the_server(
        self, fo: Any, lab: MediaCache, s3_server: S3Server, uris: list[str]
    ):
        from forebay.fiftyone.app.link_rewriting import link

        url = uris[0].replace("lab:/", s3_server.endpoint)
        assert link(url).startswith("/")
        assert fo.Sample(filepath=url).local_path.endswith(uris[0].rpartition("/")[2])
        # Any other URL of a private address is the browser's own affair.
        assert link(f"{url}?x=1") == f"{url}?x=1"

    def test_storage_functions(self, fo: Any, lab: MediaCache, uris: list[str], s3_bucket: str):
        fos = importlib.import_module("fiftyone.core.storage")
        root = f"lab://{s3_bucket}"
        assert fos.get_file_system(uris[0]) is fos.FileSystem.MINIO
        assert fos.split_prefix(f"{root}/x") == ("lab://", f"{s3_bucket}/x")
        assert fos.get_bucket_name(root) == s3_bucket
        assert fos.isabs(root)
        assert fos.abspath(uris[0]) == fos.normalize_path(uris[0]) == uris[0]
        assert fos.list_files(root, abs_paths=True, recursive=True) == sorted(uris)
        assert fos.get_glob_matches(f"{root}/*/0000.jpg") == sorted(
            uri for uri in uris if uri.endswith("/0000.jpg")
        )
        fos.write_file("text", f"{root}/notes/a.txt")
        fos.copy_file(f"{root}/notes/a.txt", f"minio://{s3_bucket}/notes/b.txt")
        assert fos.read_file(f"{root}/notes/b.txt") == "text"
        assert fos.isdir(f"{root}/notes")
        fos.delete_dir(f"{root}/notes")
        assert not fos.exists(f"{root}/notes/a.txt")


def test_a_new_process_knows_it_before_anything_asks_for_the_cache(
    fiftyone_settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MINIO_ALIAS", "lab")
    code = "import fiftyone as fo; print(fo.Sample(filepath='lab://b/a.jpg').filepath)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=100
    )
    assert done.stdout == "lab://b/a.jpg\n"


def test_two_servers_in_one_dataset(
    fo: Any,
    s3_server: S3Server,
    other_s3_server: S3Server,
    s3_environment: dict[str, str],
    s3_bucket: str,
    photos: dict[str, bytes],
    use_cache: UseCache,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OTHER_KEY", other_s3_server.access_key)
    monkeypatch.setenv("OTHER_SECRET", other_s3_server.secret_key)
    other = other_s3_server.create_bucket(f"other-{s3_bucket}")
    rule = {
        "access_key_variable": "OTHER_KEY",
        "secret_key_variable": "OTHER_SECRET",
        "endpoint_url": other_s3_server.endpoint,
    }
    use_cache(credentials=json.dumps({"s3://other-*": rule}))
    uris = [
        (other_s3_server if number % 2 else s3_server).put(other if number % 2 else s3_bucket, name, body)
        for number, (name, body) in enumerate(photos.items())
    ]
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=uri) for uri in uris])
    dataset.download_media(progress=False)
    assert [Path(path).read_bytes() for path in dataset.get_local_paths()] == list(photos.values())
    # And from one to the other, by FiftyOne's own functions.
    fos = importlib.import_module("fiftyone.core.storage")
    fos.copy_files(uris[:2], [f"s3://{other}/copied/0.jpg", f"s3://{s3_bucket}/copied/1.jpg"])
    assert fos.list_files(f"s3://{other}/copied") == ["0.jpg"]
    assert fos.read_file(f"s3://{s3_bucket}/copied/1.jpg", binary=True) == list(photos.values())[1]
