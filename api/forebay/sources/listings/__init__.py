"""Listings of buckets: queries for pages, parsers of the answers, and the walk from page to page.

Nothing here sends a request: a source asks for one `PageQuery` at a time and returns a `Page`.
"""

from forebay.sources.base import Page, PageQuery
from forebay.sources.listings.pages import Marker, PageError, objects_of
from forebay.sources.listings.walk import Start, walk

__all__ = ["Marker", "Page", "PageError", "PageQuery", "Start", "objects_of", "walk"]
