"""Reads a page of S3 with an XML parser, in which nothing can be declared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.parsers import expat

from forebay.sources.listings.pages import PageError

COLUMNS = ("Key", "Size", "ETag", "LastModified")
_CODE = re.compile(r"\w{1,64}")
_DEEPEST = 32


class Raw:
    """A page, as it is written.

    Attributes:
        fields: what it says of itself, such as ``IsTruncated``.
        columns: for each of `COLUMNS`, the values of all objects; an empty one where there is none.
        folders: the common prefixes.
        escaped: whether the values of the columns still have XML's references in them.
    """

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.columns: dict[str, list[str]] = {name: [] for name in COLUMNS}
        self.folders: list[str] = []
        self.escaped = False


def read(document: bytes | str) -> Raw:
    """Reads a page.

    Raises:
        PageError: it is not well-formed, declares a document type, or is no listing.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(document, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, PageError):
            raise
        raise PageError(f"the listing is no valid XML ({error})") from None
    return reader.raw


def _refuse(*_: object) -> None:
    raise PageError("the listing declares a document type, which none does")


class _Reader:
    def __init__(self) -> None:
        self.raw = Raw()
        self._path: list[str] = []
        self._text: list[str] = []
        self._object: dict[str, str] = {}

    def start(self, name: str, _: Mapping[str, str]) -> None:
        self._path.append(name.rpartition(":")[2])
        self._text.clear()
        if len(self._path) == 1 and self._path[0] not in ("ListBucketResult", "Error"):
            raise PageError("the answer is no listing")
        if len(self._path) > _DEEPEST:
            raise PageError("the listing is nested too deeply")

    def text(self, text: str) -> None:
        self._text.append(text)

    def end(self, _: str) -> None:
        path, value = self._path, "".join(self._text)
        self._text.clear()
        if path[0] == "Error":
            if path[1:] in ([], ["Code"]):
                code = value if _CODE.fullmatch(value) else "an error"
                raise PageError(f"the server answered with {code} instead of a listing")
        elif len(path) == 2 and path[1] == "Contents":
            if "Key" not in self._object:
                raise PageError("the listing has an object without a key")
            for column in COLUMNS:
                self.raw.columns[column].append(self._object.get(column, ""))
            self._object = {}
        elif len(path) == 3 and path[1] == "Contents":
            if path[2] == "Key" and "Key" in self._object:
                raise PageError("the listing has an object with two keys")
            self._object[path[2]] = value
        elif path[1:] == ["CommonPrefixes", "Prefix"]:
            self.raw.folders.append(value)
        elif len(path) == 2:
            self.raw.fields[path[1]] = value
        path.pop()
