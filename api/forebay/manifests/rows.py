"""The rows of a manifest: URIs and checksums, checked; and those that name nothing that could be fetched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forebay.errors import ManifestError, UriError
from forebay.fetch.outcome import SampleOutcome
from forebay.jobs.listed_samples import Samples
from forebay.manifests.prefixes import check_target, is_prefix
from forebay.manifests.roots import Root
from forebay.sources.checksums import named
from forebay.uri import is_local, plain_entry, shown

COLUMNS = ("filepath", "uri", "url", "path")
# Read at a time: few enough to be small, and enough for one look at what is cached.
PART_ROWS = 10_000


class Rows:
    """Gathers the rows of one manifest.

    Args:
        name: of the manifest, for messages, without secrets.
        unit: what its rows are called: ``line``, ``row``, ``image`` or ``sample``.
        root: where relative names are; ``None`` where they are an error.
        columns: that may hold the URI: the first of them that there is.
        is_chosen: whether the user named the column.
        checksum: the column of the checksums, if one is named.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        root: Root | None,
        columns: Sequence[str],
        *,
        is_chosen: bool,
        checksum: str | None,
    ) -> None:
        self.name = name
        self.columns = columns
        self.checksum = checksum
        self._unit = unit
        self._root = root
        self._is_chosen = is_chosen
        self._samples = Samples()

    @property
    def is_full(self) -> bool:
        """Whether there are enough for a part."""
        return len(self._samples) >= PART_ROWS

    def take(self) -> Samples:
        """What was gathered since the last call."""
        samples, self._samples = self._samples, Samples()
        return samples

    def add(self, number: int, value: object, checksum: object = None, *, column: str = "") -> None:
        """Adds a row.

        Args:
            number: of the row, from 1.
            value: of the column of the URI.
            checksum: of the column of checksums.
            column: where the value is from, for messages.
        """
        try:
            uri = self._uri(value)
        except (UriError, ValueError) as error:
            self.note(number, str(error), column)
            return
        if self.checksum is not None:
            try:
                wanted = self._checksum(uri, checksum)
            except ValueError as error:
                self.note(number, str(error), column and f"{column.partition(' ')[0]} {self.checksum!r}")
                return
            self._samples.checksums.append(wanted)
        self._samples.uris.append(uri)

    def add_record(self, number: int, record: Mapping[str, Any]) -> None:
        """Adds a row that has keys."""
        key = next((name for name in self.columns if found(record, name) is not None), None)
        key = key or next((name for name in self.columns if name in record), None)
        if key is None:
            self.note(number, f"expected the key {self.wanted()}, found {names_of(record)}")
            return
        checksum = None if self.checksum is None else found(record, self.checksum)
        self.add(number, found(record, key), checksum, column=f"key {key!r}")

    def note(self, number: int, problem: str, column: str = "") -> None:
        """Notes a row that is broken."""
        where = f"{self.name}, {self._unit} {number}{column and f', {column}'}"
        error = ManifestError(f"{where}: {problem}", file=self.name, line=number)
        self._samples.broken.append(SampleOutcome(number, where, "failed", error=error))

    def fail(self, problem: str, number: int | None = None) -> ManifestError:
        """The error of a manifest that cannot be read (any further)."""
        where = "" if number is None else f", {self._unit} {number}"
        return ManifestError(f"{self.name}{where}: {problem}", file=self.name, line=number)

    def wanted(self, columns: Iterable[str] | None = None) -> str:
        """The columns of the URI, for messages."""
        *others, last = [repr(name) for name in columns or self.columns]
        names = f"{', '.join(others)} or {last}" if others else last
        return names if self._is_chosen else f"{names} (or the one that --column names)"

    def _uri(self, value: object) -> str:
        if isinstance(value, bytes):
            value = value.decode()
        if not isinstance(value, str) or not value:
            raise ValueError(f"expected a URI, found {_described(value)}")
        if plain_entry(value) is not None:
            return value
        if is_local(value):
            # Nearly every broken line looks like a relative path.
            if value.startswith("/") or value[:8].lower() == "file:///":
                return value
            if self._root is None:
                raise ValueError(
                    f"{shown(value)} is no URI; expected for instance s3://bucket/key, or an absolute local "
                    "path; relative names need --root"
                )
            value = self._root.join(value)
            if is_local(value):
                return value
        check_target(value)
        return value

    @staticmethod
    def _checksum(uri: str, value: object) -> str:
        if is_prefix(uri):
            raise ValueError("a prefix has no checksum")
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32:
            value = f"crc32c:{value:08x}"
        if value is None or value == "":
            raise ValueError("nothing, where a checksum was expected")
        if not isinstance(value, str):
            raise ValueError("expected a checksum as text")  # noqa: TRY004 - as every other bad value
        named(value)
        return value.strip()


def _described(value: object) -> str:
    try:
        return json.dumps(value, default=lambda _: "…")[:60]
    except RecursionError:
        return "what is nested too deeply"


def found(record: Mapping[str, Any], name: str) -> Any:
    """The value of a key; of ``image.path`` also that of ``path`` in the object ``image``."""
    if name in record or "." not in name:
        return record.get(name)
    value: Any = record
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def names_of(names: Iterable[str]) -> str:
    """Some names, for messages."""
    some = [repr(name if len(name) <= 60 else f"{name[:60]}…") for name in names]
    return ", ".join(some[:8]) + (", …" if len(some) > 8 else "") if some else "none"
