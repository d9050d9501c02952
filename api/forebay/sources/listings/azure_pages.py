"""Pages of Azure Blob Storage: List Blobs and List Containers."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote
from xml.etree.ElementTree import Element, ParseError, fromstring

from forebay.sources.base import ObjectInfo, PageQuery
from forebay.sources.listings.pages import PageError, check, md5_of, size_of


class AzurePage:
    """One page; see `Page`."""

    __slots__ = ("_blobs", "folders", "keys", "token")

    def __init__(self, root: Element, query: PageQuery) -> None:
        blobs = [(_name(blob), blob) for blob in root.iterfind("Blobs/Blob") if not _is_directory(blob)]
        if query.start_after:
            # The server cannot begin in the middle.
            blobs = [(name, blob) for name, blob in blobs if name > query.start_after]
        self.keys = [name for name, _ in blobs]
        self._blobs = [blob for _, blob in blobs]
        self.folders = [_name(folder) for folder in root.iterfind("Blobs/BlobPrefix")]
        self.token = root.findtext("NextMarker") or ""
        check(self.keys, self.folders, query.prefix)

    def objects(self, root: str) -> list[ObjectInfo]:
        made = []
        for key, blob in zip(self.keys, self._blobs, strict=True):
            properties = blob.find("Properties")
            if properties is None:
                raise PageError("the listing has a blob without properties")
            text = properties.findtext
            size, etag = text("Content-Length"), text("Etag")
            made.append(
                ObjectInfo(
                    root + key,
                    size_of(size) if size else None,
                    (etag if etag.startswith(('"', "W/")) else f'"{etag}"') if etag else None,
                    _seconds_of(text("Last-Modified")),
                    text("Content-Type") or None,
                    md5_of(text("Content-MD5")),
                )
            )
        return made


def query_string(query: PageQuery) -> str:
    """The query of a page's URL, percent-encoded."""
    parts = {"restype": "container", "comp": "list", "prefix": query.prefix}
    if query.delimiter:
        parts["delimiter"] = query.delimiter
    if query.max_keys:
        parts["maxresults"] = str(query.max_keys)
    if query.token:
        parts["marker"] = query.token
    return "&".join(
        f"{name}={quote(text, safe='', errors='surrogateescape')}" for name, text in parts.items()
    )


def parse_page(body: bytes, query: PageQuery) -> AzurePage:
    """Reads an answer.

    Raises:
        PageError: it is no page of this listing.
    """
    return AzurePage(_root(body), query)


def containers_of(body: bytes) -> tuple[list[str], str]:
    """The names of containers in an answer, and the marker of the next page; empty where there is none.

    Raises:
        PageError: it is no such listing.
    """
    root = _root(body)
    names = [name for one in root.iterfind("Containers/Container") if (name := one.findtext("Name"))]
    return names, root.findtext("NextMarker") or ""


def _root(body: bytes) -> Element:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PageError("the listing is not encoded as it says") from None
    if "<!" in text:
        raise PageError("the listing declares a document type, which none does")
    try:
        root = fromstring(text)
    except (ParseError, ValueError, RecursionError) as error:
        raise PageError(f"the listing is no valid XML ({type(error).__name__})") from None
    if root.tag != "EnumerationResults":
        raise PageError("the answer is no listing")
    return root


def _name(one: Element) -> str:
    name = one.find("Name")
    if name is None or not name.text:
        raise PageError("the listing has a blob without a name")
    if (name.get("Encoded") or "").lower() == "true":
        return unquote(name.text)
    return name.text


def _is_directory(blob: Element) -> bool:
    """Whether it is a directory of an account with a hierarchical namespace, which is listed like a blob."""
    return (blob.findtext("Properties/ResourceType") or "").strip().lower() == "directory"


def _seconds_of(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (TypeError, ValueError, OverflowError):
        return None
