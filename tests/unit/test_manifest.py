"""What a manifest gives, and what its broken lines say."""

from __future__ import annotations

import errno
import gzip
import io
from pathlib import Path

import pytest

from forebay.errors import ManifestError
from forebay.manifests.manifest import read_manifest


def manifest(directory: Path, name: str, content: str | bytes) -> str:
    path = directory / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


class TestText:
    def test_a_uri_on_each_line(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "list.txt", "s3://b/a.jpg\ngs://b/b.jpg\nhttps://h/c.jpg?x=1\n")
        assert read_manifest(path) == ["s3://b/a.jpg", "gs://b/b.jpg", "https://h/c.jpg?x=1"]

    def test_comments_empty_lines_and_windows_endings_count_for_nothing(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "list", "\ufeff# mine\r\n\r\n  s3://b/a.jpg\r\n   # more\r\ns3://b/#1.jpg")
        assert read_manifest(path) == ["s3://b/a.jpg", "s3://b/#1.jpg"]

    def test_keys_may_hold_what_other_kinds_of_manifest_separate_by(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "list.txt", "s3://b/a, b\tc.jpg\ns3://b/{x}.jpg\n")
        assert read_manifest(path) == ["s3://b/a, b\tc.jpg", "s3://b/{x}.jpg"]

    def test_prefixes_buckets_and_absolute_local_paths(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "list.txt", "s3://b/dir/\ns3://b\n/data/a.jpg\nfile:///data/b.jpg\n")
        assert read_manifest(path) == ["s3://b/dir/", "s3://b", "/data/a.jpg", "file:///data/b.jpg"]

    def test_repeated_uris_stay_repeated(self, tmp_path: Path) -> None:
        assert read_manifest(manifest(tmp_path, "l", "s3://b/a\ns3://b/a\n")) == ["s3://b/a"] * 2

    def test_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"s3://b/a\n")))
        assert read_manifest("-") == ["s3://b/a"]

    def test_unicode(self, tmp_path: Path) -> None:
        assert read_manifest(manifest(tmp_path, "l", "s3://b/é 日本.jpg\n")) == ["s3://b/é 日本.jpg"]


class TestJsonLines:
    @pytest.mark.parametrize("name", ["list.jsonl", "list.ndjson", "list.txt"])
    def test_the_first_key_that_is_known(self, tmp_path: Path, name: str) -> None:
        lines = '{"id": 1, "filepath": "s3://b/a"}\n\n{"uri": "s3://b/b"}\n{"url": "https://h/c"}\n'
        lines += '{"path": "/d"}\n'
        assert read_manifest(manifest(tmp_path, name, lines)) == ["s3://b/a", "s3://b/b", "https://h/c", "/d"]

    def test_a_key_of_ones_own(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "l", '{"filepath": "s3://b/a", "image": "s3://b/b"}\n')
        assert read_manifest(path, column="image") == ["s3://b/b"]

    def test_strings(self, tmp_path: Path) -> None:
        assert read_manifest(manifest(tmp_path, "l.jsonl", '"s3://b/a"\n')) == ["s3://b/a"]


class TestTables:
    @pytest.mark.parametrize("name", ["list.csv", "list.txt", "list"])
    def test_the_first_column_that_is_known(self, tmp_path: Path, name: str) -> None:
        path = manifest(tmp_path, name, 'label,uri\ncat,s3://b/a\n\ndog,"s3://b/b, c"\n')
        assert read_manifest(path) == ["s3://b/a", "s3://b/b, c"]

    def test_a_column_of_ones_own(self, tmp_path: Path) -> None:
        path = manifest(tmp_path, "list", "image,uri\ns3://b/a,s3://b/b\n")
        assert read_manifest(path, column="image") == ["s3://b/a"]

    def test_tabs(self, tmp_path: Path) -> None:
        assert read_manifest(manifest(tmp_path, "l.tsv", "id\tpath\n1\ts3://b/a,b\n")) == ["s3://b/a,b"]

    def test_one_column_only(self, tmp_path: Path) -> None:
        assert read_manifest(manifest(tmp_path, "l", "filepath\ns3://b/a\n")) == ["s3://b/a"]


TEXT = "expected for instance s3://bucket/key, or an absolute local path; relative names need --root"
SCHEMES = (
    "s3://bucket/key, gs://bucket/key, minio://bucket/key, az://container/blob, an http(s):// URL, "
    "or a local path"
)
KEYS = "'filepath', 'uri', 'url' or 'path' (or the one that --column names)"
BROKEN = {
    "a relative path": ("l.txt", b"s3://b/a\na.jpg\n", f"line 2: 'a.jpg' is no URI; {TEXT}"),
    "another scheme": (
        "l.txt",
        b"ftp://h/a\n",
        f"line 1: 'ftp://h/a' has the scheme 'ftp', which Forebay cannot fetch; expected {SCHEMES}",
    ),
    "no bucket": ("l.txt", b"\ns3:///a\n", "line 2: 's3:///a' names no bucket; expected s3://bucket/key"),
    "several": ("l.txt", b"s3://b/a\nx\ny\nz\n", f"line 2: 'x' is no URI; {TEXT} (and 2 more broken lines)"),
    "two": ("l.txt", b"x\ny\n", f"line 1: 'x' is no URI; {TEXT} (and 1 more broken line)"),
    "no UTF-8": ("l.txt", b"s3://b/a\ns3://b/\xff\n", "line 2: not valid UTF-8"),
    "no UTF-8 is found first, and told in order": (
        "l",
        b"x\n\xff",
        f"line 1: 'x' is no URI; {TEXT} (and 1 more broken line)",
    ),
    "no JSON": (
        "l.jsonl",
        b'{"filepath": "s3://b/a"}\n{"filepath": }\n',
        "line 2: not valid JSON (Expecting value: line 1 column 14 (char 13)); expected for instance "
        '{"filepath": "s3://bucket/key"}',
    ),
    "other keys": ("l.jsonl", b'{"id": 1, "b": 2}\n', f"line 1: expected the key {KEYS}, found 'id', 'b'"),
    "no keys": ("l.jsonl", b"{}\n", f"line 1: expected the key {KEYS}, found none"),
    "no string": ("l.jsonl", b'{"uri": 7}\n', "line 1, key 'uri': expected a URI, found 7"),
    "null": ("l.jsonl", b'{"uri": null}\n', "line 1, key 'uri': expected a URI, found null"),
    "empty": ("l.jsonl", b'{"uri": ""}\n', "line 1, key 'uri': expected a URI, found \"\""),
    "a broken URI in JSON": ("l.jsonl", b'{"uri": "x y"}\n', f"line 1, key 'uri': 'x y' is no URI; {TEXT}"),
    "other columns": (
        "l.csv",
        b"id,label\n1,cat\n",
        f"line 1: expected the column {KEYS}, found 'id', 'label'",
    ),
    "a short row": (
        "l.csv",
        b"id,uri\n1,s3://b/a\n2\n",
        "line 3: nothing in column 2, where a URI was expected",
    ),
    "no UTF-8 in JSON": (
        "l.json",
        b'{"images": [{"file_name": "s3://b/\\udc00"}]}',
        "not valid JSON ('utf-8' codec can't decode byte 0xed in position 7: invalid continuation byte)",
    ),
    "an integer that ijson does not survive": (
        "l.json",
        b'{"images": [{"file_name": "s3://b/a", "id": ' + b"1" * 5000 + b"}]}",
        "not valid JSON (a number has more than 2,000 digits)",
    ),
    "an integer in another chunk": (
        "l.json",
        b'{"images": [{"file_name": "s3://b/a"}' + b" " * (128 << 10) + b', {"id": ' + b"1" * 5000 + b"}]}",
        "not valid JSON after 1 images (a number has more than 2,000 digits)",
    ),
    "a list that would take gigabytes": (
        "l.json",
        b'{"images": [{"file_name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        "not valid JSON (it is nested too deeply)",
    ),
    "a list that cannot be shown": (
        "l.json",
        b'{"images": [{"file_name": ' + b"[" * 1500 + b"]" * 1500 + b"}]}",
        "image 1, key 'file_name': expected a URI, found what is nested too deeply",
    ),
    "UTF-16": ("l.csv", "uri\ns3://b/a\n".encode("utf-16"), "text in UTF-16, where UTF-8 was expected"),
    "gzip": ("l.csv.gz", gzip.compress(b"uri\ns3://b/a\n"), "compressed with gzip: decompress it first"),
    "an open quote": ("l.csv", b'uri\n"s3://b/a\n', "line 2: not valid CSV (unexpected end of data)"),
}


@pytest.mark.parametrize(("name", "content", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_named(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = manifest(tmp_path, name, content)
    with pytest.raises(ManifestError) as raised:
        read_manifest(path)
    assert str(raised.value).removeprefix(path).removeprefix(" is").lstrip(",: ") == problem
    assert raised.value.exit_status == 2


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    path = manifest(tmp_path, "l.csv", "uri\ns3://b/a\n")
    with pytest.raises(ManifestError, match=r"line 1: expected the column 'image', found 'uri'$"):
        read_manifest(path, column="image")


def test_secrets_of_a_broken_url_are_not_told(tmp_path: Path) -> None:
    path = manifest(tmp_path, "l", "ftp://user:hunter2@host/a?token=hunter2\n")
    with pytest.raises(ManifestError) as raised:
        read_manifest(path)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "# nothing\n\n", "uri\n"])
def test_a_manifest_that_names_nothing(tmp_path: Path, content: str) -> None:
    path = manifest(tmp_path, "l", content)
    with pytest.raises(ManifestError) as raised:
        read_manifest(path)
    assert str(raised.value) == f"{path} names nothing: it has no URI"


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        read_manifest(f"{tmp_path}/none.txt")
    assert str(raised.value) == f"the manifest {tmp_path}/none.txt does not exist"


def test_a_manifest_that_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as raised:
        read_manifest(str(tmp_path))
    assert str(raised.value) == f"the manifest {tmp_path} cannot be read: Is a directory"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(ManifestError, match="no file can be named "):
        read_manifest(name)


def test_standard_input_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ManifestError, match="standard input cannot be read"):
        read_manifest("-")


def test_a_file_that_cannot_be_read_any_further(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr("forebay.manifests.manifest.read_text", stale)
    path = manifest(tmp_path, "l", "s3://b/a\n")
    with pytest.raises(ManifestError) as raised:
        read_manifest(path)
    assert str(raised.value) == f"{path}: it cannot be read any further: Stale file handle"
