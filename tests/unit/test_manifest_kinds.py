"""The kinds of manifests beside text, CSV and JSON lines: what tells and breaks them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from forebay.errors import ConfigError, ManifestError, UriError
from forebay.jobs.listed_samples import Samples
from forebay.manifests.braces import expand_braces
from forebay.manifests.label_readers import SoundJson
from forebay.manifests.manifest import Manifest, ManifestOptions, read_parts, read_uris
from forebay.manifests.manifest_file import no_remote
from forebay.manifests.roots import Root, place_of

COLUMNS = "'filepath', 'uri', 'url' or 'path' (or the one that --column names)"
MD5 = "25f9e794323b453885f5181f1b624d0b"


def uris(path: Path | str, **options: Any) -> list[str]:
    return read_uris(str(path), ManifestOptions(**options), no_remote)


def parts(path: Path | str, **options: Any) -> list[Samples]:
    return list(read_parts(str(path), ManifestOptions(**options), no_remote))


def broken(path: Path | str, **options: Any) -> list[str]:
    return [str(row.error) for part in parts(path, **options) for row in part.broken]


def at(url: str, path: Path) -> Callable[[str], Any]:
    """Opens a local file in the place of an object."""

    def opened(uri: str) -> Any:
        assert uri == url
        return path.open("rb")

    return opened


class TestParquet:
    @pytest.fixture
    def pyarrow(self) -> Any:
        return pytest.importorskip("pyarrow")

    def write(self, pyarrow: Any, path: Path, rows_in_group: int | None = None, **columns: Any) -> Path:
        from pyarrow import parquet

        parquet.write_table(pyarrow.table(columns), path, row_group_size=rows_in_group)
        return path

    @pytest.mark.parametrize("kind", ["string", "large_string", "binary", "dictionary"])
    def test_a_column_of_text(self, pyarrow: Any, tmp_path: Path, kind: str) -> None:
        values = pyarrow.array(["s3://b/a", "gs://b/b", "s3://b/a"])
        values = values.dictionary_encode() if kind == "dictionary" else values.cast(kind)
        path = self.write(pyarrow, tmp_path / "l.parquet", id=pyarrow.array([1, 2, 3]), url=values)
        assert uris(path) == ["s3://b/a", "gs://b/b", "s3://b/a"]

    @pytest.mark.parametrize("is_dictionary", [False, True])
    def test_text_that_is_not_utf_8_costs_its_row(
        self, pyarrow: Any, tmp_path: Path, is_dictionary: bool
    ) -> None:
        # other writers do not check what they call text
        values = pyarrow.array([b"s3://b/a", b"\xff", None, b"s3://b/b"]).view(pyarrow.string())
        values = values.dictionary_encode() if is_dictionary else values
        path = self.write(pyarrow, tmp_path / "l.parquet", uri=values)

        (part,) = parts(path)

        assert part.uris == ["s3://b/a", "s3://b/b"]
        assert [str(row.error).removeprefix(f"{path}, ") for row in part.broken] == [
            "row 2, column 'uri': 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
            "row 3, column 'uri': expected a URI, found null",
        ]

    def test_several_columns_of_one_name(self, pyarrow: Any, tmp_path: Path) -> None:
        from pyarrow import parquet

        column = pyarrow.array(["s3://b/a"])
        table = pyarrow.Table.from_arrays([column, column], names=["uri", "uri"])
        parquet.write_table(table, tmp_path / "l.parquet")

        with pytest.raises(ManifestError, match="there are several columns 'uri'"):
            parts(tmp_path / "l.parquet")

    def test_a_field_of_a_column(self, pyarrow: Any, tmp_path: Path) -> None:
        images = pyarrow.array([{"path": "s3://b/a", "bytes": b""}, None])
        path = self.write(pyarrow, tmp_path / "l", image=images)
        [part] = parts(path, column="image.path")
        assert part.uris == ["s3://b/a"]
        assert [str(row.error) for row in part.broken] == [
            f"{path}, row 2, column 'image.path': expected a URI, found null"
        ]

    def test_many_rows_come_in_parts(self, pyarrow: Any, tmp_path: Path) -> None:
        wanted = [f"s3://b/{number}" for number in range(25_000)]
        path = self.write(pyarrow, tmp_path / "l.pq", 7_000, uri=pyarrow.array(wanted))
        found = parts(path)
        assert [uri for part in found for uri in part.uris] == wanted
        assert max(map(len, found)) < 20_000

    def test_checksums(self, pyarrow: Any, tmp_path: Path) -> None:
        path = self.write(
            pyarrow,
            tmp_path / "l.parquet",
            uri=pyarrow.array(["s3://b/1", "s3://b/2", "s3://b/3", "s3://b/4/"]),
            md5=pyarrow.array([MD5, "zz", None, MD5]),
            crc=pyarrow.array([1, 2, 3, 4], pyarrow.uint32()),
        )
        [part] = parts(path, checksum_column="md5")
        assert (part.uris, part.checksums) == (["s3://b/1"], [MD5])
        assert [str(row.error) for row in part.broken] == [
            f"{path}, row 2, column 'md5': expected MD5, SHA-256 or CRC-32C as hexadecimal digits or base64",
            f"{path}, row 3, column 'md5': nothing, where a checksum was expected",
            f"{path}, row 4, column 'md5': a prefix has no checksum",
        ]
        [part] = parts(path, checksum_column="crc")
        assert part.checksums == ["crc32c:00000001", "crc32c:00000002", "crc32c:00000003"]

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (
                {},
                f"expected the column {COLUMNS}, found 'id'",
            ),
            ({"column": "image"}, "expected the column 'image', found 'id'"),
            ({"column": "id"}, "the column 'id' holds int64, where text was expected"),
        ],
    )
    def test_a_column_that_is_not_there(
        self, pyarrow: Any, tmp_path: Path, options: dict[str, str], problem: str
    ) -> None:
        path = self.write(pyarrow, tmp_path / "l.parquet", id=pyarrow.array([1]))
        with pytest.raises(ManifestError) as raised:
            parts(path, **options)
        assert str(raised.value) == f"{path}: {problem}"

    def test_a_file_that_is_cut_off(self, pyarrow: Any, tmp_path: Path) -> None:
        path = self.write(pyarrow, tmp_path / "l.parquet", uri=pyarrow.array(["s3://b/a"] * 1000))
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(ManifestError, match=r"l\.parquet: not valid Parquet \("):
            parts(path)

    def test_from_standard_input(self, pyarrow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = self.write(pyarrow, tmp_path / "l", uri=pyarrow.array([f"s3://b/{n}" for n in range(50_000)]))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
        assert len(uris("-")) == 50_000

    def test_without_pyarrow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "l.parquet"
        path.write_bytes(b"PAR1")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ConfigError) as raised:
            parts(path)
        assert str(raised.value) == f"{path} is Parquet, which needs pyarrow: pip install 'forebay[parquet]'"


class TestCoco:
    DOCUMENT: ClassVar[dict[str, Any]] = {
        "info": {"year": 2017},
        "annotations": [{"segmentation": [[1.5, 2]], "file_name": "no.jpg"}],
        "images": [
            {"id": 1, "file_name": "train/a.jpg", "coco_url": "https://h/a.jpg", "md5": MD5},
            {"id": 2},
            {"id": 3, "file_name": "../../b #1.jpg", "md5": MD5},
        ],
    }

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "instances.json"
        path.write_text(json.dumps(self.DOCUMENT))
        return path

    def test_names_are_relative_to_its_place(self, path: Path) -> None:
        [part] = parts(path)
        assert part.uris == [f"{path.parent}/train/a.jpg", f"{path.parent.parent.parent}/b #1.jpg"]
        assert [str(row.error) for row in part.broken] == [
            f"{path}, image 2: expected the key 'file_name' (or the one that --column names), found 'id'"
        ]

    def test_names_of_an_object_are_relative_to_its_prefix(self, path: Path) -> None:
        url = "s3://b/coco/annotations/instances.json"
        [part] = read_parts(url, ManifestOptions(), at(url, path))
        assert part.uris == ["s3://b/coco/annotations/train/a.jpg", "s3://b/b #1.jpg"]

    def test_a_root(self, path: Path) -> None:
        [part] = parts(path, root="https://h/x y/z?sig=1", checksum_column="md5")
        assert part.uris == ["https://h/x y/z/train/a.jpg", "https://h/b%20%231.jpg"]
        assert part.checksums == [MD5, MD5]

    def test_a_name_that_leads_out_of_the_bucket(self, path: Path) -> None:
        assert broken(path, root="s3://b/")[1] == (
            f"{path}, image 3, key 'file_name': '../../b #1.jpg' leads out of s3://b"
        )

    def test_another_key(self, path: Path) -> None:
        assert parts(path, column="coco_url")[0].uris == ["https://h/a.jpg"]

    def test_a_document_that_is_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "l.json"
        path.write_text('{"images": [{"file_name": "a"}, {"file')
        with pytest.raises(ManifestError, match=r"l\.json: not valid JSON after 1 images \(parse error"):
            parts(path, root="s3://b/")

    def test_json_of_another_kind(self, tmp_path: Path) -> None:
        path = tmp_path / "l.json"
        path.write_text('{"a": 1}')
        with pytest.raises(ManifestError) as raised:
            parts(path)
        assert str(raised.value) == (
            f"{path} is JSON of an unknown kind: expected COCO ('images'), FiftyOne ('samples') or JSON "
            "lines; name one with --list-kind"
        )


class TestFiftyOne:
    def test_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "samples.json"
        samples = [{"filepath": "data/a.jpg", "x": float("nan")}, {"filepath": "s3://b/b.jpg"}, 7]
        path.write_text(json.dumps({"name": "d", "samples": samples}, indent=1))
        [part] = parts(path, root="s3://b/set")
        assert part.uris == ["s3://b/set/data/a.jpg", "s3://b/b.jpg"]
        assert [str(row.error) for row in part.broken] == [f"{path}, sample 3: expected an object"]

    def test_labels_without_extensions(self, tmp_path: Path) -> None:
        path = tmp_path / "labels.json"
        path.write_text('{"classes": ["a"], "labels": {"0001": 0}}')
        with pytest.raises(
            ManifestError, match="names its samples without their extensions: prefetch the prefix"
        ):
            parts(path)

    @pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
    def test_numbers_that_json_does_not_have(self, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
        from forebay.manifests import label_readers

        monkeypatch.setattr(label_readers, "_CHUNK", chunk)
        text = b'{"a": NaN, "NaN": [-Infinity,Infinity , NaN], "b": "NaN, I", "c": -1, "Inf":"N"}'
        file, found = SoundJson(io.BytesIO(text)), b""
        while data := file.read(16):
            found += data
        assert json.loads(found) == {"a": None, "NaN": [None] * 3, "b": "NaN, I", "c": -1, "Inf": "N"}


class TestYolo:
    def test_a_list_is_told_by_its_names(self, tmp_path: Path) -> None:
        path = tmp_path / "train.txt"
        path.write_text("./images/a.jpg\nimages/b.jpg\n\n/data/c.jpg\n")
        assert uris(path) == [f"{tmp_path}/images/a.jpg", f"{tmp_path}/images/b.jpg", "/data/c.jpg"]
        assert uris(path, root="s3://b/yolo/")[:2] == ["s3://b/yolo/images/a.jpg", "s3://b/yolo/images/b.jpg"]

    def test_a_list_beside_its_images(self, tmp_path: Path) -> None:
        path = tmp_path / "train.txt"
        path.write_text("images/b.jpg\n")
        url = "gs://b/yolo/train.txt"
        assert read_uris(url, ManifestOptions(), at(url, path)) == ["gs://b/yolo/images/b.jpg"]
        assert uris(path, kind="yolo") == [f"{tmp_path}/images/b.jpg"]


class TestImageFolder:
    CONTENT: ClassVar[dict[str, str]] = {
        "metadata.csv": "file_name,md5\na.jpg,{md5}\n",
        "metadata.jsonl": '{{"file_name": "a.jpg", "md5": "{md5}"}}\n',
    }

    @pytest.mark.parametrize("name", CONTENT)
    def test_the_file_beside_the_images(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.write_text(self.CONTENT[name].format(md5=MD5))
        url = f"s3://b/train/{name}"
        [part] = read_parts(url, ManifestOptions(checksum_column="md5"), at(url, path))
        assert (part.uris, part.checksums) == (["s3://b/train/a.jpg"], [MD5])

    def test_another_name(self, tmp_path: Path) -> None:
        path = tmp_path / "other.csv"
        path.write_text("file_name\na.jpg\n")
        assert uris(path, kind="imagefolder", root="s3://b") == ["s3://b/a.jpg"]

    def test_parquet(self, tmp_path: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        path = tmp_path / "metadata.parquet"
        parquet.write_table(pyarrow.table({"file_name": ["a.jpg"]}), path)
        assert uris(path) == [f"{tmp_path}/a.jpg"]


class TestStreams:
    def test_a_bad_row_costs_itself_only(self, tmp_path: Path) -> None:
        path = tmp_path / "l.csv"
        path.write_text(f"uri,md5\ns3://b/a,{MD5}\nx,{MD5}\n,7\ns3://b/b,1\ns3://b/c,{MD5}\n")
        [part] = parts(path, checksum_column="md5")
        assert part.uris == ["s3://b/a", "s3://b/c"] and len(part) == 5
        assert [str(row.error).removeprefix(f"{path}, ").split(":")[0] for row in part.broken] == [
            "line 3, column 'uri'",
            "line 4",
            "line 5, column 'md5'",
        ]

    def test_a_beginning_of_nothing_but_bad_rows_is_an_error(self, tmp_path: Path) -> None:
        path = tmp_path / "l.txt"
        path.write_text("x\n" * 10_001 + "s3://b/a\n")
        with pytest.raises(
            ManifestError, match=r"l\.txt, line 1: 'x' is no URI.* \(and 9999 more broken lines\)"
        ):
            parts(path)

    def test_a_checksum_column_that_is_not_there(self, tmp_path: Path) -> None:
        table, text = tmp_path / "l.csv", tmp_path / "l.txt"
        table.write_text("uri\ns3://b/a\n")
        text.write_text("s3://b/a\n")
        with pytest.raises(
            ManifestError, match=r"line 1: expected the column 'md5' of checksums, found 'uri'$"
        ):
            parts(table, checksum_column="md5")
        with pytest.raises(ManifestError, match=r"l\.txt: text has no column 'md5' of checksums$"):
            parts(text, checksum_column="md5")

    def test_json_lines_in_a_file_of_another_name(self, tmp_path: Path) -> None:
        path = tmp_path / "l.json"
        path.write_text('{"uri": "s3://b/a", "labels": []}\n{"uri": "s3://b/b"}\n')
        assert uris(path) == ["s3://b/a", "s3://b/b"]

    def test_a_line_that_is_too_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from forebay.manifests import line_readers

        monkeypatch.setattr(line_readers, "_MAX_LINE", 1 << 20)
        path = tmp_path / "l.txt"
        path.write_bytes(b"s3://b/a\n" + b"x" * (1 << 20))
        with pytest.raises(ManifestError, match=r"line 2: it is longer than 1 MiB$"):
            parts(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s3://b/a", ["s3://b/a"]),
        ("s3://b/{008..010}.tar", ["s3://b/008.tar", "s3://b/009.tar", "s3://b/010.tar"]),
        ("{8..10}", ["8", "9", "10"]),
        ("{train,val}/{0..1}", ["train/0", "train/1", "val/0", "val/1"]),
        ("a{x}{}{1..}{,b}", ["a{x}{}{1..}", "a{x}{}{1..}b"]),
    ],
)
def test_braces(text: str, wanted: list[str]) -> None:
    assert list(expand_braces(text)) == wanted


def test_braces_are_expanded_as_they_are_asked_for() -> None:
    endless = expand_braces("{0..999999999999}-{000000000000..999999999999}")
    assert [next(endless) for _ in range(2)] == ["0-000000000000", "0-000000000001"]


def test_a_range_that_runs_backwards() -> None:
    with pytest.raises(UriError, match=r"the range \{2\.\.1\} in 's3://b/\{2\.\.1\}' runs backwards"):
        list(expand_braces("s3://b/{2..1}"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("s3://b/{a,{b,c}}", "has braces within braces"),
        ("s3://b/{{0..1}..3}", "has braces within braces"),
        ("{0.." + "9" * 5000 + "}", "has more than 18 digits"),
        ("{a,b}" * 2000, "has more than 100 ranges"),
        ("{0..9}{0..99999999999}", "stands for 1,000,000,000,000 names, and 100 are allowed here"),
    ],
    ids=["alternatives", "a range", "digits", "groups", "names"],
)
def test_braces_that_are_not_expanded(text: str, problem: str) -> None:
    with pytest.raises(UriError, match=problem):
        expand_braces(text, 100)


@pytest.mark.parametrize(
    ("root", "name", "wanted"),
    [
        ("s3://b", "a/./b//c", "s3://b/a/b//c"),
        ("s3://b/x/y/", "../c", "s3://b/x/c"),
        ("az://b/x", "a#?.jpg", "az://b/x/a#?.jpg"),
        ("https://h:1/x?token=1", "a#?é.jpg", "https://h:1/x/a%23%3F%C3%A9.jpg"),
        ("/data", "../x", "/x"),
    ],
)
def test_a_name_below_a_root(root: str, name: str, wanted: str) -> None:
    assert Root(root).join(name) == wanted


def test_the_place_of_a_manifest() -> None:
    assert place_of("https://h/x/list.json?sig=a/b").join("c") == "https://h/x/c"
    assert place_of("s3://b/list?.json").join("c") == "s3://b/c"


def test_a_byte_order_mark_before_json(tmp_path: Path) -> None:
    path = tmp_path / "l.json"
    path.write_text('{"images": [{"file_name": "s3://b/a"}]}', encoding="utf-8-sig")
    assert uris(path) == ["s3://b/a"]


def test_what_is_no_kind() -> None:
    with pytest.raises(
        UriError, match="'xml' is no kind of manifest: expected text, csv, tsv, jsonl, parquet"
    ):
        Manifest("l", kind="xml")  # type: ignore[arg-type]
    with pytest.raises(UriError):
        Manifest("l", root="ftp://h/")
