"""Reads manifests whose rows are lines: text, CSV, TSV and JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import BinaryIO

from forebay.jobs.listed_samples import Samples
from forebay.manifests.rows import Rows, names_of

# A line is held in memory.
_MAX_LINE = 64 << 20
_BOM = b"\xef\xbb\xbf"


def read_text(file: BinaryIO, rows: Rows) -> Iterator[Samples]:
    """One URI on each line; empty lines and lines that begin with ``#`` count for nothing."""
    for number, line in _lines(file, rows):
        uri = line.strip()
        if uri and uri[0] != "#":
            rows.add(number, uri)
        if rows.is_full:
            yield rows.take()


def read_json_lines(file: BinaryIO, rows: Rows) -> Iterator[Samples]:
    """An object, or a URI as a string, on each line."""
    for number, line in _lines(file, rows):
        if line.strip():
            _add_json(number, line, rows)
        if rows.is_full:
            yield rows.take()


def _add_json(number: int, line: str, rows: Rows) -> None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        expected = f'{{"{rows.columns[0]}": "s3://bucket/key"}}'
        rows.note(number, f"not valid JSON ({error}); expected for instance {expected}")
        return
    if isinstance(value, dict):
        rows.add_record(number, value)
    else:
        rows.add(number, value)


def read_table(file: BinaryIO, rows: Rows, delimiter: str) -> Iterator[Samples]:
    """CSV or TSV, whose first line names the columns.

    Raises:
        ManifestError: there is no such column, or the rest is not valid CSV.
    """
    table = csv.reader((line for _, line in _lines(file, rows)), delimiter=delimiter, strict=True)
    position: int | None = None
    label, checksum = "", None
    try:
        for row in table:
            if not any(row):
                continue
            if position is None:
                names = [name.strip() for name in row]
                position = next((names.index(name) for name in rows.columns if name in names), None)
                if position is None:
                    problem = f"expected the column {rows.wanted()}, found {names_of(names)}"
                    raise rows.fail(problem, table.line_num)
                label = f"column {names[position]!r}"
                checksum = _checksum_position(names, rows, table.line_num)
            elif position >= len(row) or not row[position].strip():
                rows.note(table.line_num, f"nothing in column {position + 1}, where a URI was expected")
            else:
                given = row[checksum].strip() if checksum is not None and checksum < len(row) else None
                rows.add(table.line_num, row[position].strip(), given, column=label)
            if rows.is_full:
                yield rows.take()
    except csv.Error as error:
        raise rows.fail(f"not valid CSV ({error})", table.line_num) from None


def _checksum_position(names: list[str], rows: Rows, line: int) -> int | None:
    if rows.checksum is None:
        return None
    if rows.checksum not in names:
        raise rows.fail(f"expected the column {rows.checksum!r} of checksums, found {names_of(names)}", line)
    return names.index(rows.checksum)


def _lines(file: BinaryIO, rows: Rows) -> Iterator[tuple[int, str]]:
    """The number and text of each line; one that is not UTF-8 is noted, and comes as an empty one."""
    number = 0
    while raw := file.readline(_MAX_LINE):
        if len(raw) == _MAX_LINE and raw[-1:] != b"\n":
            raise rows.fail(f"it is longer than {_MAX_LINE >> 20} MiB", number + 1)
        if not number:
            raw = raw.removeprefix(_BOM)
        for line in raw.splitlines(keepends=True):
            number += 1
            try:
                yield number, line.decode()
            except UnicodeDecodeError:
                rows.note(number, "not valid UTF-8")
                yield number, "\n"
