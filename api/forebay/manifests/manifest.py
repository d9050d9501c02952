"""Manifests: files that name what to prefetch. Their kinds are those of `forebay.manifests.manifest_kinds`.

They are read as a stream. A row that names nothing that could be fetched costs itself only where a job is
made of them, and is an error of the whole manifest where it is read for anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from forebay.cache import MediaCache
from forebay.engine import Engine
from forebay.errors import ManifestError, UriError
from forebay.jobs.listed_samples import Samples, told_last
from forebay.manifests.label_readers import read_records
from forebay.manifests.line_readers import read_json_lines, read_table, read_text
from forebay.manifests.listing import expanded
from forebay.manifests.manifest_file import STDIN, ManifestFile, OpenRemote, no_remote, open_current
from forebay.manifests.manifest_kinds import DELIMITERS, KINDS, Form, ManifestKind, form_of
from forebay.manifests.parquet_reader import read_parquet
from forebay.manifests.roots import Root, place_of
from forebay.manifests.rows import Rows
from forebay.sample_lists import SampleList
from forebay.uri import is_local, redact, shown, uri_text

_UNITS = {"parquet": "row", "coco": "image", "fiftyone": "sample"}


@dataclass(frozen=True, slots=True)
class ManifestOptions:
    """How manifests are read.

    Attributes:
        column: that holds the URI.
        checksum_column: that holds the checksum of each object; ``None`` where none is verified.
        root: where relative names are; by default beside the manifest.
        kind: of the manifest; by default as its name and its beginning tell.
    """

    column: str | None = None
    checksum_column: str | None = None
    root: str | None = None
    kind: ManifestKind | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise UriError(f"{shown(self.kind)} is no kind of manifest: expected {', '.join(KINDS)}")
        if self.root is not None:
            Root(self.root)


PLAIN = ManifestOptions()


class Manifest(SampleList):
    """A file that names many samples, for `download_media`: text, CSV, JSON lines, Parquet, the label files
    of COCO and FiftyOne, lists of YOLO, or the metadata of a Hugging Face image folder.

    It is read as a stream while samples are downloaded. A row that names nothing is a failed sample of the
    job. As an iterable, it gives the URIs; there, the first such row is an error.

    Args:
        file: a local path, or the URI of an object, which is read by way of the cache.
        column: of the URI; by default the one that is usual for the kind.
        checksum_column: of the checksum of each object: MD5, SHA-256 or CRC-32C, as hexadecimal digits or
            base64. A download that differs fails; what is cached already is not read again.
        root: the URI of a prefix, or a directory, to which relative names are relative; by default where the
            file is.
        kind: ``text``, ``csv``, ``tsv``, ``jsonl``, ``parquet``, ``coco``, ``fiftyone``, ``imagefolder`` or
            ``yolo``; by default told from its name and its beginning.

    Raises:
        UriError: ``root`` or ``kind`` is not allowed.
    """

    def __init__(
        self,
        file: Any,
        column: str | None = None,
        checksum_column: str | None = None,
        root: str | None = None,
        kind: ManifestKind | None = None,
    ) -> None:
        self._file = uri_text(file)
        self._options = ManifestOptions(column, checksum_column, root, kind)

    def __repr__(self) -> str:
        return f"Manifest({shown(self._file)})"

    def _parts(self, engine: Engine) -> Iterator[Samples]:
        """Its samples, some at a time; the prefixes that it names are listed."""
        parts = read_parts(self._file, self._options, partial(open_current, engine))
        return expanded(engine.sources, told_last(parts), attempts=engine.config.max_attempts)

    def __iter__(self) -> Iterator[str]:
        """The URIs, in order.

        Raises:
            ManifestError: it cannot be read, or a row names nothing.
        """
        cache = MediaCache()
        try:
            for samples in read_parts(self._file, self._options, partial(open_current, cache.engine)):
                raise_broken([samples])
                yield from samples.uris
        finally:
            cache.close()


def read_manifest(path: str, *, column: str | None = None) -> list[str]:
    """Reads the URIs of a local manifest, in order; see `read_uris`."""
    return read_uris(path, ManifestOptions(column=column), no_remote)


def read_uris(target: str, options: ManifestOptions, open_remote: OpenRemote) -> list[str]:
    """Reads the URIs of a manifest, in order; also absolute local paths, and prefixes that end in ``/``.

    Args:
        target: the file: a local path, a remote URI, or ``-`` for standard input.
        open_remote: opens an object.

    Raises:
        ManifestError: the file cannot be read, has no URI, or has a broken row; the message names the first.
    """
    parts: list[Samples] = []
    try:
        parts.extend(_read(target, options, open_remote))
    except ManifestError:
        # What is broken before it is named first.
        raise_broken(parts)
        raise
    raise_broken(parts)
    if not any(part.uris for part in parts):
        raise _nothing(target)
    return [uri for part in parts for uri in part.uris]


def read_parts(target: str, options: ManifestOptions, open_remote: OpenRemote) -> Iterator[Samples]:
    """Reads a manifest as a stream; arguments as for `read_uris`.

    Raises:
        ManifestError: the file cannot be read, has no URI, or nothing but broken rows at its beginning.
    """
    is_sound = False
    for part in _read(target, options, open_remote):
        if not is_sound and not part.uris:
            # It is of another kind, or of none.
            raise_broken([part])
        is_sound = True
        yield part
    if not is_sound:
        raise _nothing(target)


def raise_broken(parts: Iterable[Samples]) -> None:
    """Raises the error of the first broken row, if there is one.

    Raises:
        ManifestError: with how many more there are.
    """
    broken = [row for part in parts for row in part.broken]
    if broken:
        error, others = broken[0].error, len(broken) - 1
        assert isinstance(error, ManifestError)
        more = f" (and {others} more broken line{'s' if others > 1 else ''})" if others else ""
        raise ManifestError(f"{error}{more}", file=error.file, line=error.line)


def _nothing(target: str) -> ManifestError:
    name = "standard input" if target == STDIN else target if is_local(target) else redact(target)
    return ManifestError(f"{name} names nothing: it has no URI", file=name)


def _read(target: str, options: ManifestOptions, open_remote: OpenRemote) -> Iterator[Samples]:
    with ManifestFile(target, open_remote) as opened:
        form = form_of(opened.name, opened.file_name, opened.head, options.kind, options.column)
        rows = Rows(
            opened.name,
            _UNITS.get(form.layout, "line"),
            _root(target, opened, form, options),
            form.columns if options.column is None else (options.column,),
            is_chosen=options.column is not None,
            checksum=options.checksum_column,
        )
        try:
            yield from _parts(opened, form, rows)
        except OSError as error:
            raise rows.fail(f"it cannot be read any further: {error.strerror or error}") from None
        if rest := rows.take():
            yield rest


def _root(target: str, opened: ManifestFile, form: Form, options: ManifestOptions) -> Root | None:
    if options.root is not None:
        return Root(options.root)
    if not opened.file_name or not (form.is_relative or opened.is_remote):
        return None
    return place_of(target)


def _parts(opened: ManifestFile, form: Form, rows: Rows) -> Iterator[Samples]:
    if form.layout == "parquet":
        return read_parquet(opened.positioned(), rows)
    if form.layout == "coco":
        return read_records(opened.file, rows, "images")
    if form.layout == "fiftyone":
        return read_records(opened.file, rows, "samples")
    if form.layout == "jsonl":
        return read_json_lines(opened.file, rows)
    if form.layout in DELIMITERS:
        return read_table(opened.file, rows, DELIMITERS[form.layout])
    if rows.checksum is not None:
        raise rows.fail(f"text has no column {rows.checksum!r} of checksums")
    return read_text(opened.file, rows)
