"""Jobs of manifests of every kind, from the command line and from programs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from forebay import Manifest
from forebay.cache import MediaCache
from forebay.errors import ManifestError, ObjectNotFoundError
from forebay.jobs import creation
from forebay.manifests import rows
from forebay_worker.presence import Presence
from forebay_worker.tally import SamplesFailedError
from forebay_worker.tasks import fetch_message
from tests.commands import Forebay
from tests.servers.seaweedfs import S3Server

pytestmark = pytest.mark.usefixtures("s3_environment")

NAMES = [f"train/{number:02}.jpg" for number in range(12)]


@pytest.fixture
def uris(s3_server: S3Server, s3_bucket: str) -> list[str]:
    """Twelve objects below ``train/``, each with its name as its content."""
    return s3_server.put_many(s3_bucket, {name: name.encode() for name in NAMES})


@pytest.fixture
def put(s3_server: S3Server, s3_bucket: str) -> Any:
    """Writes an object, and gives its URI."""

    def write(name: str, content: str | bytes) -> str:
        data = content if isinstance(content, bytes) else content.encode()
        [uri] = s3_server.put_many(s3_bucket, {name: data})
        return uri

    return write


def md5(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()


class TestTheCommand:
    def test_a_range_that_no_memory_holds(self, forebay: Forebay, s3_bucket: str) -> None:
        done = forebay("verify", f"s3://{s3_bucket}/{{0..99999999999}}")
        assert done.status == 2
        assert "stands for 100,000,000,000 names, and 10,000,000 are allowed here" in done.err

    def test_a_range_keeps_its_zeros(self, forebay: Forebay, s3_bucket: str, uris: list[str]) -> None:
        done = forebay("prefetch", f"s3://{s3_bucket}/train/{{08..11}}.{{jpg,png}}", "--json")

        assert (done.status, done.json["total"], done.json["downloaded"]) == (1, 8, 4)

    def test_coco_from_the_bucket(self, forebay: Forebay, uris: list[str], put: Any) -> None:
        # given annotations that are an object beside their images
        images = [{"id": n, "file_name": f"../train/{n:02}.jpg"} for n in range(12)]
        annotations = put("annotations/instances.json", json.dumps({"annotations": [], "images": images}))

        # when they are prefetched, twice
        done = forebay("prefetch", f"@{annotations}", "--json")
        again = forebay("prefetch", f"@{annotations}")

        # then the images are cached
        assert (done.status, done.json["downloaded"]) == (0, 12)
        assert again.out == "12 of 12 samples cached, all already cached\n"

    def test_a_list_that_has_changed_is_read_anew(self, forebay: Forebay, uris: list[str], put: Any) -> None:
        manifest = put("list.txt", f"{uris[0]}\n")
        assert forebay("prefetch", f"@{manifest}", "--json").json["total"] == 1

        put("list.txt", "train/01.jpg\ntrain/02.jpg\n")

        assert forebay("prefetch", f"@{manifest}", "--json").json["total"] == 2

    def test_parquet_with_checksums(
        self, forebay: Forebay, tmp_path: Path, s3_bucket: str, uris: list[str]
    ) -> None:
        # given a table in which one checksum is another object's, and one is none
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "train.parquet"
        checksums = [*map(md5, NAMES[:3]), md5(NAMES[0]), "none"]
        parquet.write_table(pyarrow.table({"image": NAMES[:5], "md5": checksums}), path)
        options = ("--column", "image", "--checksum-column", "md5", "--root", f"s3://{s3_bucket}/")

        # when it is prefetched
        done = forebay("prefetch", f"@{path}", *options)

        # then each of them fails alone
        assert done.status == 1
        assert done.out.startswith("3 of 5 samples cached, 3 downloaded")
        assert (
            f"failed: {uris[3]}: its 12 bytes do not have the checksum of the list, {checksums[3]}"
            in done.error_lines
        )
        kinds = "MD5, SHA-256 or CRC-32C as hexadecimal digits or base64"
        assert f"failed: {path}, row 5, column 'md5': expected {kinds}" in done.error_lines

    def test_no_wait_lists_all_before_it_leaves(
        self, forebay: Forebay, tmp_path: Path, uris: list[str]
    ) -> None:
        path = tmp_path / "list.txt"
        path.write_text("\n".join([*uris, "broken"]))

        done = forebay("prefetch", f"@{path}", "--no-wait", "--json")
        ended = forebay("job", done.json["id"], "--watch", "--json")

        assert (ended.json["total"], ended.json["downloaded"], ended.json["failed"]) == (13, 12, 1)

    def test_what_is_said_of_a_kind_that_is_none(self, forebay: Forebay, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text("s3://b/a")
        done = forebay("prefetch", f"@{path}", "--list-kind", "xml")
        assert (done.status, done.error_lines[0]) == (
            2,
            "error: 'xml' is no kind of manifest: expected text, csv, tsv, jsonl, parquet, coco, fiftyone, "
            "imagefolder, yolo",
        )

    def test_other_commands_read_the_same_lists(self, forebay: Forebay, uris: list[str], put: Any) -> None:
        manifest = put("train/metadata.csv", "file_name\n00.jpg\n01.jpg\n")
        forebay("prefetch", f"@{manifest}")

        assert forebay("verify", f"@{manifest}").status == 0
        assert forebay("lease", "add", f"@{manifest}", "--for", "1h", "--json").json["entries"] == 2
        assert forebay("clear", f"@{manifest}", "--force", "--yes").out == "removed 2 objects\n"


class TestTheFunction:
    def test_a_manifest_is_read_in_parts(
        self, cache: MediaCache, uris: list[str], put: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rows, "PART_ROWS", 2)
        monkeypatch.setattr("forebay.jobs.listed_samples.FIRST_SAMPLES", 3)
        monkeypatch.setattr(creation, "_MORE_SAMPLES", 1)
        lines = [json.dumps({"file_name": name.split("/")[1], "sum": md5(name)}) for name in NAMES]
        manifest = Manifest(put("train/metadata.jsonl", "\n".join([*lines, "{"])), checksum_column="sum")

        job = cache.download_media(manifest)

        assert (job.total, job.downloaded, job.failed) == (13, 12, 1)
        [failure] = job.failures()
        assert failure.uri.endswith("/train/metadata.jsonl, line 13")

    def test_prefixes_in_a_manifest(self, cache: MediaCache, tmp_path: Path, uris: list[str]) -> None:
        path = tmp_path / "list.txt"
        path.write_text(f"{uris[0].rpartition('/')[0]}/\n{uris[3]}\n/no/such/file\n")

        job = cache.download_media(Manifest(path))

        assert (job.total, job.failed) == (14, 1)

    def test_a_manifest_that_is_no_object(self, cache: MediaCache, s3_bucket: str) -> None:
        with pytest.raises(ObjectNotFoundError):
            cache.download_media(Manifest(f"s3://{s3_bucket}/none.csv"))
        with pytest.raises(ManifestError, match=r"the manifest none\.csv does not exist"):
            cache.download_media(Manifest("none.csv"))

    def test_its_uris(self, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text("./a.jpg\n./b.jpg\n")
        assert list(Manifest(path, root="s3://b/")) == ["s3://b/a.jpg", "s3://b/b.jpg"]
        path.write_text("s3://b/a\nx\n")
        with pytest.raises(ManifestError, match="line 2: 'x' is no URI"):
            list(Manifest(path))

    def test_a_worker_knows_the_checksums(self, make_cache: Any, tmp_path: Path, uris: list[str]) -> None:
        # given a job of the fleet, in which one checksum is another object's
        cache = make_cache(dispatch="fleet")
        cache.engine.open_index().workers.announce("w", 1)
        path = tmp_path / "list.csv"
        path.write_text(f"uri,sum\n{uris[0]},{md5(NAMES[0])}\n{uris[1]},{md5(NAMES[0])}\n")
        job = cache.create_job(Manifest(path, checksum_column="sum"), message_size=2)

        # when a worker takes its message
        with pytest.raises(SamplesFailedError):
            fetch_message(cache, Presence(cache), job.id, 0)

        # then that sample has failed
        assert (job.status().downloaded, job.status().failed) == (1, 1)
