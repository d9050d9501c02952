"""Which kind a manifest is: told by its name, else by its beginning.

===============  ======================================================================================
kind             told by
===============  ======================================================================================
``parquet``      the names ``*.parquet`` and ``*.pq``, or the bytes ``PAR1``
``csv``, ``tsv`` the names ``*.csv`` and ``*.tsv``, or a first line that has one of `COLUMNS`
``jsonl``        the names ``*.jsonl`` and ``*.ndjson``, or a first line that is a JSON object
``coco``         a JSON document with ``images``, ``annotations``, ``categories`` or ``licenses``
``fiftyone``     a JSON document with ``samples``
``imagefolder``  the names ``metadata.csv``, ``metadata.jsonl`` and ``metadata.parquet``
``yolo``         a first line that begins with ``./``
``text``         everything else
===============  ======================================================================================
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Literal, get_args

from forebay.errors import ManifestError
from forebay.manifests.label_readers import SoundJson
from forebay.manifests.rows import COLUMNS

ManifestKind = Literal["text", "csv", "tsv", "jsonl", "parquet", "coco", "fiftyone", "imagefolder", "yolo"]
KINDS: tuple[str, ...] = get_args(ManifestKind)

_SUFFIXES: dict[str, ManifestKind] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
DELIMITERS: dict[ManifestKind, str] = {"csv": ",", "tsv": "\t"}
_DOCUMENTS: dict[str, ManifestKind] = {
    "images": "coco",
    "annotations": "coco",
    "categories": "coco",
    "licenses": "coco",
    "samples": "fiftyone",
}
_FOREIGN = {
    b"\xff\xfe": "text in UTF-16, where UTF-8 was expected",
    b"\xfe\xff": "text in UTF-16, where UTF-8 was expected",
    b"\x1f\x8b": "compressed with gzip: decompress it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: decompress it first",
}
# The keys of FiftyOne's other label files, which name samples without their extensions.
_STEMS = {"labels", "classes"}


@dataclass(frozen=True, slots=True)
class Form:
    """How a manifest is read.

    Attributes:
        layout: ``text``, ``csv``, ``tsv``, ``jsonl``, ``parquet``, ``coco`` or ``fiftyone``.
        is_relative: whether names are relative to its own place.
        columns: that may hold the URI.
    """

    layout: ManifestKind
    is_relative: bool = False
    columns: tuple[str, ...] = COLUMNS


def form_of(name: str, file_name: str, head: bytes, kind: ManifestKind | None, column: str | None) -> Form:
    """How a manifest is read.

    Args:
        name: of the manifest, for messages.
        file_name: the last part of its path; empty for standard input.
        head: its first bytes.
        kind: as the user says.
        column: that the user names.

    Raises:
        ManifestError: it is a JSON document of another kind, or is compressed or encoded.
    """
    for beginning, what in _FOREIGN.items():
        if head.startswith(beginning):
            raise ManifestError(f"{name} is {what}", file=name)
    stem, dot, suffix = file_name.rpartition(".")
    layout = _SUFFIXES.get(dot + suffix.lower())
    if kind in ("coco", "fiftyone"):
        return Form(kind, True, ("file_name",) if kind == "coco" else ("filepath",))
    if kind == "yolo":
        return Form("text", is_relative=True)
    if kind == "imagefolder" or (kind is None and layout is not None and stem == "metadata"):
        return Form(layout or _guess(head, {"file_name"}), True, ("file_name", *COLUMNS))
    if kind is None and layout is None and suffix.lower() == "json":
        layout = _document(name, head, column)
        if layout is None:
            raise ManifestError(
                f"{name} is JSON of an unknown kind: expected COCO ('images'), FiftyOne ('samples') or JSON "
                "lines; name one with --list-kind",
                file=name,
            )
        if layout != "jsonl":
            return form_of(name, file_name, head, layout, column)
    if kind is None and layout is None:
        layout = _document(name, head, column) or _guess(head, {column} if column else set(COLUMNS))
        if layout in ("coco", "fiftyone"):
            return form_of(name, file_name, head, layout, column)
    layout = kind or layout or "text"
    return Form(layout, is_relative=layout == "text" and _first_line(head).startswith("./"))


def _first_line(head: bytes) -> str:
    for line in head.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").splitlines():
        if line.strip() and line.lstrip()[0] != "#":
            return line.strip()
    return ""


def _guess(head: bytes, wanted: set[str]) -> ManifestKind:
    if head.startswith(b"PAR1"):
        return "parquet"
    first = _first_line(head)
    if first.startswith("{"):
        return "jsonl"
    for kind, delimiter in DELIMITERS.items():
        if wanted & {name.strip().strip('"') for name in first.split(delimiter)}:
            return kind
    return "text"


def _document(name: str, head: bytes, column: str | None) -> ManifestKind | None:
    """The kind of a JSON document, or of JSON lines; ``None`` for what is neither."""
    first = _first_line(head)
    if not first.startswith("{"):
        return None
    wanted = {column} if column else set(COLUMNS)
    try:
        record = json.loads(first)
    except (ValueError, RecursionError):
        keys = _keys(name, head)
    else:
        keys = list(record)
        if wanted & set(keys):
            return "jsonl"
    kind = next((_DOCUMENTS[key] for key in keys if key in _DOCUMENTS), None)
    if kind is None and _STEMS & set(keys):
        raise ManifestError(
            f"{name} names its samples without their extensions: prefetch the prefix that they are below "
            "(mostly data/ beside it)",
            file=name,
        )
    return kind


def _keys(name: str, head: bytes) -> list[str]:
    """The keys of the JSON object that begins so.

    Raises:
        ManifestError: it has what cannot be parsed.
    """
    import ijson

    keys, depth = [], 0
    try:
        for event, value in ijson.basic_parse(SoundJson(io.BytesIO(head))):
            if event in ("start_map", "start_array"):
                depth += 1
            elif event in ("end_map", "end_array"):
                depth -= 1
            elif event == "map_key" and depth == 1:
                keys.append(value)
    except ijson.JSONError:
        pass  # Its end is not there.
    except ValueError as error:
        raise ManifestError(f"{name}: not valid JSON ({error})", file=name) from None
    return keys
