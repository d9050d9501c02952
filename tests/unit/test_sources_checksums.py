"""Checksums of objects: which of a source's are used, and when a file has them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from pathlib import Path

import google_crc32c
import pytest

from forebay.config import MediaCacheConfig
from forebay.fetch.kept_copy import has_checksums
from forebay.sources import checksums
from forebay.sources.base import ObjectInfo, Source
from forebay.sources.gcs import gcs_source
from forebay.sources.s3 import s3_source
from forebay.transport import Head, Headers
from forebay.uri import parse

BYTES = b"pixels" * 1000


def base64_of(number: int) -> str:
    return base64.b64encode(number.to_bytes(4, "big")).decode()


BY_NAME = {
    "sha256": base64.b64encode(hashlib.sha256(BYTES).digest()).decode(),
    "sha1": base64.b64encode(hashlib.sha1(BYTES).digest()).decode(),
    "crc32": base64_of(zlib.crc32(BYTES)),
    "crc32c": base64_of(google_crc32c.value(BYTES)),
}


def head(**headers: str) -> Head:
    lines = {"content-length": str(len(BYTES)), "etag": '"new"'}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Head(200, Headers([f"{name}: {value}\r\n".encode() for name, value in lines.items()]))


class TestOfAFile:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        (tmp_path / "a.bin").write_bytes(BYTES)
        return str(tmp_path / "a.bin")

    @pytest.mark.parametrize("name", BY_NAME)
    def test_tells_its_bytes_from_others(self, path: str, name: str) -> None:
        info = ObjectInfo("s3://b/a.bin", len(BYTES), checksum=(name, BY_NAME[name]))
        assert has_checksums(path, info)

        Path(path).write_bytes(BYTES[:-1] + b"?")
        assert not has_checksums(path, info)

    def test_all_that_are_given_must_be_right(self, path: str) -> None:
        info = ObjectInfo("s3://b/a.bin", len(BYTES), md5=hashlib.md5(BYTES).hexdigest())
        assert has_checksums(path, info._replace(checksum=("sha256", BY_NAME["sha256"])))
        assert not has_checksums(path, info._replace(checksum=("sha256", BY_NAME["sha1"])))
        assert not has_checksums(path, info._replace(md5="0" * 32))

    def test_without_any_or_of_another_size_nothing_is_known(self, path: str) -> None:
        md5 = hashlib.md5(BYTES).hexdigest()
        assert not has_checksums(path, ObjectInfo("s3://b/a.bin", len(BYTES)))
        assert not has_checksums(path, ObjectInfo("s3://b/a.bin", None, md5=md5))
        assert not has_checksums(path, ObjectInfo("s3://b/a.bin", len(BYTES) + 1, md5=md5))

    def test_a_comparison_that_nobody_wants_any_more_ends(self, path: str) -> None:
        info = ObjectInfo("s3://b/a.bin", len(BYTES), md5=hashlib.md5(BYTES).hexdigest())
        assert not has_checksums(path, info, lambda: False)

    def test_no_link_is_followed(self, path: str, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(path)
        info = ObjectInfo("s3://b/a.bin", len(BYTES), md5=hashlib.md5(BYTES).hexdigest())
        with pytest.raises(OSError, match="symbolic link"):
            has_checksums(str(tmp_path / "link"), info)


class TestOfS3:
    @pytest.fixture
    def source(self, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        return s3_source(MediaCacheConfig())

    def test_a_head_is_asked_for_with_them_also_where_downloads_are_not_checked(self, source: Source) -> None:
        request = source.request_head(parse("s3://photos/a.bin"))

        assert request is not None
        assert request.method == "HEAD"
        assert ("x-amz-checksum-mode", "ENABLED") in request.headers
        assert ("x-amz-checksum-mode", "ENABLED") not in source.request(parse("s3://photos/a.bin")).headers

    @pytest.mark.parametrize("name", BY_NAME)
    def test_one_counts_where_the_etag_is_no_md5(self, source: Source, name: str) -> None:
        # given an object that is encrypted with a key of KMS: its etag has 32 digits, too
        checksum = {f"x_amz_checksum_{name}": BY_NAME[name]}
        answer = head(etag=f'"{"a" * 32}"', x_amz_server_side_encryption="aws:kms", **checksum)

        info = source.describe_head(parse("s3://photos/a.bin"), answer)

        assert (info.md5, info.checksum) == (None, (name, BY_NAME[name]))
        assert source.describe(parse("s3://photos/a.bin"), answer).checksum is None

    def test_one_that_is_made_of_those_of_parts_does_not(self, source: Source) -> None:
        answer = head(etag='"0123-3"', x_amz_checksum_crc32="4QXSTQ==-3")

        info = source.describe_head(parse("s3://photos/a.bin"), answer)

        assert (info.md5, info.checksum) == (None, None)

    def test_crc32c_in_python_would_take_longer_than_a_download(
        self, source: Source, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(google_crc32c, "implementation", "python")

        info = source.describe_head(parse("s3://photos/a.bin"), head(x_amz_checksum_crc32c=BY_NAME["crc32c"]))

        assert info.checksum is None
        assert checksums.comparable() == ("sha256", "sha1", "crc32")


class TestOfGoogle:
    @pytest.fixture
    def source(self, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
        return gcs_source(MediaCacheConfig())

    def test_composed_objects_have_a_crc32c_only(self, source: Source) -> None:
        answer = head(x_goog_hash=f"crc32c={BY_NAME['crc32c']}")

        info = source.describe_head(parse("gs://photos/a.bin"), answer)

        assert (info.md5, info.checksum) == (None, ("crc32c", BY_NAME["crc32c"]))

    def test_what_is_sent_decoded_has_none(self, source: Source) -> None:
        answer = head(
            x_goog_hash=f"crc32c={BY_NAME['crc32c']}",
            x_goog_stored_content_encoding="gzip",
            content_encoding="gzip",
        )

        assert source.describe_head(parse("gs://photos/a.bin"), answer).checksum is None
