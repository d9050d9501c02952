"""Reading and writing files by fiftyone.core.storage."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from forebay.cache import MediaCache
from forebay.errors import ObjectNotFoundError, SourceError
from tests.fiftyone.conftest import UseCache
from tests.fiftyone.places import Places
from tests.servers import Fault
from tests.servers.seaweedfs import S3Server


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
