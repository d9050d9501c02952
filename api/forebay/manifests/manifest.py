"""Manifests: files that name what to prefetch, as text, JSON lines, CSV or TSV.

======================  ===============================================================================
kind                    told by
======================  ===============================================================================
CSV, TSV                the names ``*.csv`` and ``*.tsv``, or a first line that has one of `COLUMNS`
JSON lines              the names ``*.jsonl`` and ``*.ndjson``, or a first line that begins with ``{``
text, a URI on a line   everything else; empty lines and lines that begin with ``#`` count for nothing
======================  ===============================================================================

One line that cannot be parsed makes the whole manifest an error, so that no job runs on half of it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from forebay.errors import ManifestError, UriError
from forebay.manifests.listing import check_target
from forebay.uri import is_local

COLUMNS = ("filepath", "uri", "url", "path")
STDIN = "-"

ManifestFormat = Literal["text", "jsonl", "csv", "tsv"]
_SUFFIXES: dict[str, ManifestFormat] = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_DELIMITERS: dict[ManifestFormat, str] = {"csv": ",", "tsv": "\t"}


def read_manifest(path: str, *, column: str | None = None) -> list[str]:
    """Reads the URIs of a manifest, in order; also absolute local paths, and prefixes that end in ``/``.

    Args:
        path: the file; ``-`` for standard input.
        column: the column of CSV, or the key of JSON lines, that holds the URI; by default the first of
            `COLUMNS` that there is.

    Raises:
        ManifestError: the file cannot be read, has no URI, or has a line that cannot be parsed; the message
            names the first such line.
    """
    try:
        data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"the manifest {path} does not exist", file=path) from None
    except OSError as error:
        raise ManifestError(f"the manifest {path} cannot be read: {error.strerror}", file=path) from None
    name = "standard input" if path == STDIN else path
    return parse_manifest(data, name, kind=_SUFFIXES.get(Path(path).suffix.lower()), column=column)


def parse_manifest(
    data: bytes, name: str, *, kind: ManifestFormat | None = None, column: str | None = None
) -> list[str]:
    """Parses a manifest.

    Args:
        data: its content.
        name: of the manifest, for messages.
        kind: its format; ``None`` to tell it from the first line.
        column: as `read_manifest`.

    Raises:
        ManifestError: as `read_manifest`.
    """
    reader = _ManifestReader(name, column)
    lines = list(reader.decode(data))
    kind = kind or _guess(lines, column)
    if kind == "text":
        uris = reader.text(lines)
    elif kind == "jsonl":
        uris = reader.jsonl(lines)
    else:
        uris = reader.table(lines, _DELIMITERS[kind])
    reader.raise_broken()
    if not uris:
        raise ManifestError(f"{name} names nothing: it has no URI", file=name)
    return uris


class _ManifestReader:
    """Reads the lines of one manifest, and collects those that are broken."""

    def __init__(self, name: str, column: str | None) -> None:
        self._name = name
        self._chosen = column is not None
        self._columns = (column,) if column is not None else COLUMNS
        self._first: tuple[int, str] | None = None
        self._broken = 0

    def raise_broken(self) -> None:
        if self._first is not None:
            others = self._broken - 1
            more = f" (and {others} more broken line{'s' if others > 1 else ''})" if others else ""
            line, problem = self._first
            raise ManifestError(f"{self._name}, line {line}: {problem}{more}", file=self._name, line=line)

    def decode(self, data: bytes) -> Iterator[str]:
        for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(keepends=True), 1):
            try:
                yield line.decode()
            except UnicodeDecodeError:
                self._note(number, "not valid UTF-8")
                yield "\n"

    def text(self, lines: list[str]) -> list[str]:
        uris = []
        for number, line in enumerate(lines, 1):
            uri = line.strip()
            if uri and uri[0] != "#" and self._check(number, uri):
                uris.append(uri)
        return uris

    def jsonl(self, lines: list[str]) -> list[str]:
        uris = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                expected = f'{{"{self._columns[0]}": "s3://bucket/key"}}'
                self._note(number, f"not valid JSON ({error}); expected for instance {expected}")
                continue
            if isinstance(value, dict):
                key = next((name for name in self._columns if name in value), None)
                if key is None:
                    self._note(number, f"expected the key {self._wanted()}, found {_names(value)}")
                    continue
                value = value[key]
            if not isinstance(value, str) or not value:
                self._note(number, f"expected a URI, found {json.dumps(value)[:60]}")
            elif self._check(number, value):
                uris.append(value)
        return uris

    def table(self, lines: list[str], delimiter: str) -> list[str]:
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        uris, position = [], None
        try:
            for row in rows:
                number = rows.line_num
                if not any(row):
                    continue
                if position is None:
                    names = [name.strip() for name in row]
                    position = next((names.index(name) for name in self._columns if name in names), None)
                    if position is None:
                        self._note(number, f"expected the column {self._wanted()}, found {_names(names)}")
                        break
                elif position >= len(row) or not row[position].strip():
                    self._note(number, f"nothing in column {position + 1}, where a URI was expected")
                elif self._check(number, row[position].strip()):
                    uris.append(row[position].strip())
        except csv.Error as error:
            self._note(rows.line_num, f"not valid CSV ({error})")
        return uris

    def _check(self, number: int, uri: str) -> bool:
        if is_local(uri):
            # Nearly every broken line looks like a relative path.
            if uri.startswith("/") or uri[:8].lower() == "file:///":
                return True
            self._note(
                number,
                f"{_cut(uri)!r} is no URI; expected for instance s3://bucket/key, or an absolute local path",
            )
            return False
        try:
            check_target(uri)
        except UriError as error:
            self._note(number, str(error))
            return False
        return True

    def _note(self, number: int, problem: str) -> None:
        self._broken += 1
        # Bytes that are not UTF-8 are found before anything else.
        if not self._first or number < self._first[0]:
            self._first = (number, problem)

    def _wanted(self) -> str:
        *others, last = [repr(name) for name in self._columns]
        names = f"{', '.join(others)} or {last}" if others else last
        return names if self._chosen else f"{names} (or the one that --column names)"


def _guess(lines: list[str], column: str | None) -> ManifestFormat:
    """The format of a manifest, from its first line."""
    first = next((line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#"), "")
    if first.startswith("{"):
        return "jsonl"
    wanted = {column} if column else set(COLUMNS)
    for kind, delimiter in _DELIMITERS.items():
        if wanted & {name.strip().strip('"') for name in first.split(delimiter)}:
            return kind
    return "text"


def _names(found: Iterable[str]) -> str:
    names = [repr(_cut(name)) for name in found]
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "none"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
