"""Pages of Google Cloud Storage's JSON API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from forebay.sources.base import ObjectInfo, PageQuery
from forebay.sources.listings.pages import PageError, check, md5_of, seconds_of, size_of

_FIELDS = "items(name,size,md5Hash,updated,contentType),prefixes,nextPageToken"


class GCSPage:
    """One page; see `Page`."""

    __slots__ = ("_items", "folders", "keys", "token")

    def __init__(self, answer: Mapping[str, Any], query: PageQuery) -> None:
        if not isinstance(answer, dict) or "error" in answer:
            raise PageError("the server answered with an error instead of a listing")
        self._items: Sequence[Mapping[str, Any]] = _list_of(dict, answer.get("items"))
        self.keys: list[str] = _list_of(str, [item.get("name") for item in self._items])
        self.folders: list[str] = _list_of(str, answer.get("prefixes"))
        (self.token,) = _list_of(str, [answer.get("nextPageToken") or ""])
        check(self.keys, self.folders, query.prefix)
        if query.start_after and not query.token and self.keys[:1] == [query.start_after]:
            # startOffset is where a listing begins, not what it begins after.
            self._items, self.keys = self._items[1:], self.keys[1:]

    def objects(self, root: str) -> list[ObjectInfo]:
        return [
            ObjectInfo(
                root + key,
                size_of(str(item["size"])) if "size" in item else None,
                modified=seconds_of(item.get("updated")),
                content_type=_text(item.get("contentType")),
                md5=md5_of(item.get("md5Hash")),
            )
            for key, item in zip(self.keys, self._items, strict=True)
        ]


def _list_of(kind: type, found: object) -> list[Any]:
    """A list of an answer's, which it leaves out where it is empty.

    Raises:
        PageError: it is none, or one of something else.
    """
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        raise PageError("the answer is no listing")
    return found


def _text(found: object) -> str | None:
    return found if isinstance(found, str) and found.isprintable() else None


def query_string(query: PageQuery) -> str:
    """The query of a page's URL, percent-encoded."""
    parts = {"prefix": query.prefix, "fields": _FIELDS, "maxResults": str(query.max_keys or 1000)}
    if query.delimiter:
        parts["delimiter"] = query.delimiter
    if query.start_after:
        parts["startOffset"] = query.start_after
    if query.token:
        parts["pageToken"] = query.token
    return "&".join(f"{name}={quote(text, safe='', errors='surrogatepass')}" for name, text in parts.items())


def parse_page(body: bytes, query: PageQuery) -> GCSPage:
    """Reads an answer.

    Raises:
        PageError: it is no page of this listing.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise PageError("the listing is no valid JSON") from None
    return GCSPage(answer, query)
