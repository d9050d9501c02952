"""Reads Parquet, a part of a row group at a time; needs pyarrow, an extra."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from forebay import forks
from forebay.errors import ConfigError
from forebay.jobs.listed_samples import Samples
from forebay.manifests.rows import PART_ROWS, Rows, names_of

# Of each column chunk, so much is read at a time: writers make row groups of a gigabyte.
_BUFFER_BYTES = 1 << 20


def read_parquet(file: BinaryIO, rows: Rows) -> Iterator[Samples]:
    """The rows of a Parquet file.

    Args:
        file: can be positioned.

    Raises:
        ManifestError: it is not valid Parquet, or has no such column, or one that holds no text.
        ConfigError: pyarrow is not installed.
    """
    with forks.setting_up():
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError:
            raise ConfigError(
                f"{rows.name} is Parquet, which needs pyarrow: pip install 'forebay[parquet]'"
            ) from None
    number = 0
    try:
        opened = parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        schema = opened.schema_arrow
        chosen = rows.columns if rows.checksum is None else (*rows.columns, rows.checksum)
        if twice := [name for name in chosen if schema.names.count(name) > 1]:
            raise rows.fail(f"there are several columns {twice[0]!r}")
        column = next((name for name in rows.columns if _type(schema, name) is not None), None)
        if column is None:
            raise rows.fail(f"expected the column {rows.wanted()}, found {names_of(schema.names)}")
        if rows.checksum is not None and _type(schema, rows.checksum) is None:
            found = names_of(schema.names)
            raise rows.fail(f"expected the column {rows.checksum!r} of checksums, found {found}")
        kind = _type(schema, column)
        if not _holds_text(kind):
            raise rows.fail(f"the column {column!r} holds {kind}, where text was expected")
        wanted = [column] if rows.checksum is None else [column, rows.checksum]
        for batch in opened.iter_batches(PART_ROWS, columns=wanted, use_threads=False):
            uris = _values(batch, column)
            checksums = [None] * len(uris) if rows.checksum is None else _values(batch, rows.checksum)
            for uri, checksum in zip(uris, checksums, strict=True):
                number += 1
                rows.add(number, uri, checksum, column=f"column {column!r}")
            if rows.is_full:
                yield rows.take()
    except (pyarrow.ArrowException, OSError) as error:
        after = f" after row {number:,}" if number else ""
        raise rows.fail(f"not valid Parquet{after} ({str(error).splitlines()[0][:200]})") from None


def _type(schema: Any, name: str) -> Any:
    """The type of a column, or of the field ``path`` of the column ``image`` for ``image.path``."""
    if name in schema.names:
        return schema.field(name).type
    first, *rest = name.split(".")
    kind = schema.field(first).type if rest and first in schema.names else None
    for part in rest:
        if kind is None or not hasattr(kind, "get_field_index") or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return kind


def _holds_text(kind: Any) -> bool:
    kind = getattr(kind, "value_type", kind) if str(kind).startswith("dictionary") else kind
    return str(kind) in ("string", "large_string", "string_view", "binary", "large_binary", "null")


def _values(batch: Any, name: str) -> list[Any]:
    if name in batch.schema.names:
        column = batch.column(name)
    else:
        from pyarrow import compute

        first, *rest = name.split(".")
        column = compute.struct_field(batch.column(first), rest)
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return list(map(_value, column))


def _value(scalar: Any) -> Any:
    """A value; the bytes of one that calls itself text and is not valid UTF-8."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error.object
