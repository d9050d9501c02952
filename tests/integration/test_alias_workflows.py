"""An alias of a MinIO server, from the command line to the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.cvat.buckets import CloudBucket
from forebay.cvat.image_manifests import create_manifest
from forebay.manifests.listing import uris_below
from forebay.remote import Remote
from tests.caches import MakeCache
from tests.commands import Forebay
from tests.cvat.images import image
from tests.servers.seaweedfs import S3Server
from tests.servers.workers import worker

COUNT = 6


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A bucket with images, on a server that a MinIO file calls ``lab``."""
    file = tmp_path / "minio.ini"
    file.write_text(
        f"[default]\naccess_key = {s3_server.access_key}\nsecret_access_key = {s3_server.secret_key}\n"
        f"endpoint_url = {s3_server.endpoint}\nalias = lab\n"
    )
    monkeypatch.setenv("FIFTYONE_MEDIA_CACHE_MINIO_CONFIG_FILE", str(file))
    bucket = s3_server.create_bucket()
    for number in range(COUNT):
        s3_server.put(bucket, f"a/{number}.jpg", image(8, 8))
    return bucket


@pytest.fixture
def lab(bucket: str, make_cache: MakeCache) -> MakeCache:
    def make(**settings: Any) -> MediaCache:
        return make_cache(**({"allowed_sources": ["lab://"]} | settings))

    return make


def uris(scheme: str, bucket: str) -> list[str]:
    return [f"{scheme}://{bucket}/a/{number}.jpg" for number in range(COUNT)]


class TestCommandLine:
    def test_prefixes_manifests_and_the_objects_of_both_names(
        self, forebay: Forebay, bucket: str, tmp_path: Path
    ):
        settings = {"allowed_sources": "lab://"}
        manifest = tmp_path / "manifest.txt"
        manifest.write_text("".join(f"{uri}\n" for uri in uris("lab", bucket)[:3]))
        done = forebay("prefetch", f"@{manifest}", "--json", **settings)
        assert (done.status, done.json["downloaded"]) == (0, 3), done.err
        done = forebay("prefetch", f"lab://{bucket}/", "--json", **settings)
        assert (done.status, done.json["cached"], done.json["downloaded"]) == (0, 3, 3), done.err
        done = forebay("prefetch", f"minio://{bucket}/a/", "--json", **settings)
        assert (done.status, done.json["cached"]) == (0, COUNT), done.err
        path = forebay("get", uris("lab", bucket)[0], **settings).out
        assert path.rstrip().endswith(f"/media/minio/{bucket}/a/0.jpg")
        assert forebay("clear", f"lab://{bucket}/", "--yes", **settings).out == f"removed {COUNT} objects\n"

    def test_an_object_that_is_not_there_is_named(self, forebay: Forebay, bucket: str):
        done = forebay("get", f"lab://{bucket}/none.jpg", allowed_sources="minio://")
        assert done.status != 0
        assert f"lab://{bucket}/none.jpg: no such object" in done.err


class TestCache:
    def test_a_job_and_a_hit(self, lab: MakeCache, bucket: str):
        cache = lab()
        job = cache.download_media([*uris("lab", bucket), *uris("minio", bucket)], progress=False)
        assert (job.status().downloaded, job.status().cached) == (COUNT, COUNT)
        assert cache.local_path(uris("lab", bucket)[0]) == cache.local_path(uris("minio", bucket)[0])
        assert {item.uri for item in cache.contents("lab://")} == set(uris("minio", bucket))

    def test_what_is_listed_of_a_name_that_is_no_path_is_what_all_processes_know(
        self, lab: MakeCache, bucket: str, s3_server: S3Server
    ):
        # Given a key of which a path has a part only
        key = f"{'%' * 200}.jpg"
        s3_server.put(bucket, key, b"pixels")
        cache = lab()
        cache.local_path(f"lab://{bucket}/{key}")

        # Then its URI is listed without the alias
        assert [item.uri for item in cache.contents(f"lab://{bucket}/%%")] == [f"minio://{bucket}/{key}"]

    def test_workers_need_not_know_it(
        self, lab: MakeCache, bucket: str, monkeypatch: pytest.MonkeyPatch, s3_server: S3Server
    ):
        # given workers that know the server by variables, and no alias
        cache = lab(dispatch="fleet")
        for name, value in (
            ("ENDPOINT_URL", s3_server.endpoint),
            ("ACCESS_KEY", s3_server.access_key),
            ("SECRET_ACCESS_KEY", s3_server.secret_key),
        ):
            monkeypatch.setenv(f"MINIO_{name}", value)
        monkeypatch.delenv("FIFTYONE_MEDIA_CACHE_MINIO_CONFIG_FILE")
        known = cache.config.model_copy(update={"minio_config_file": None, "allowed_sources": ["minio://"]})
        with worker(MediaCache(known)):
            # Among the first, so that the others of its batch are seen to be there.
            wanted = [f"lab://{bucket}/none.jpg", *uris("lab", bucket)]
            job = cache.download_media(wanted, progress=False)
            with cache.download_context(wanted, batch_size=3, clear=True) as paths:
                assert sum(Path(path).exists() for path in paths) == COUNT
        assert (job.status().downloaded, job.status().failed) == (COUNT, 1)
        assert [failure.uri for failure in job.failures()] == [f"minio://{bucket}/none.jpg"]

    def test_listed_and_written_as_it_was_asked_for(self, lab: MakeCache, bucket: str):
        remote = Remote(lab())
        assert [info.uri for info in remote.list_objects(f"lab://{bucket}/a/")] == uris("lab", bucket)
        assert [info.uri for info in remote.list_objects(f"lab://{bucket}/", recursive=False)] == [
            f"lab://{bucket}/a/"
        ]
        below = uris_below(lab().engine.sources, [f"lab://{bucket}/"])
        assert sorted(uri for page in below for uri in page) == uris("lab", bucket)
        remote.put(f"lab://{bucket}/b", b"pixels", keep=True)
        remote.copy(f"lab://{bucket}/b", f"minio://{bucket}/c")
        assert bytes(remote.read_range(f"lab://{bucket}/c", 0, 9)) == b"pixels"


def test_a_manifest_for_cvat(lab: MakeCache, bucket: str):
    cache = lab()
    assert CloudBucket.of(f"lab://{bucket}/", cache.config).uri == f"minio://{bucket}/"
    report = create_manifest([f"lab://{bucket}/a/"], cache=cache)
    assert (report.path, report.added) == (f"minio://{bucket}/manifest.jsonl", COUNT)
    # Both names are one bucket.
    report = create_manifest(uris("minio", bucket), f"lab://{bucket}/manifest.jsonl", cache=cache)
    assert (report.kept, report.added, report.failed) == (COUNT, 0, 0)
    assert report.path == f"minio://{bucket}/manifest.jsonl"
