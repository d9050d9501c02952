"""Notices listings that never end."""

from __future__ import annotations

from forebay.sources.base import Page
from forebay.sources.listings.pages import PageError

_MAX_EMPTY_PAGES = 10_000


class LoopGuard:
    """Looks at the pages of one chain of tokens.

    Pages are compared with one that is kept, which is replaced after 1, 2, 4, 8 … pages: a circle of any
    length is noticed before it has been walked three times, and nothing is kept of the other pages.
    """

    def __init__(self) -> None:
        self._kept: tuple[str, tuple[str, ...]] | None = None
        self._steps = self._until = 1
        self._empty = 0

    def check(self, page: Page) -> None:
        """Takes the next page.

        Raises:
            PageError: it has come before, or only empty pages have come for long.
        """
        ends = (*page.keys[:1], *page.keys[-1:], "/", *page.folders[:1], *page.folders[-1:])
        self._empty = 0 if len(ends) > 1 else self._empty + 1
        if self._empty > _MAX_EMPTY_PAGES:
            raise PageError(f"the listing has had nothing but empty pages {_MAX_EMPTY_PAGES:,} times")
        if self._kept is not None:
            token, kept = self._kept
            if page.token and page.token == token:
                raise PageError("the listing repeats a token, so it would never end")
            if len(ends) > 1 and ends == kept:
                raise PageError("the listing repeats a page, so it would never end")
        self._steps -= 1
        if not self._steps:
            self._until *= 2
            self._steps, self._kept = self._until, (page.token, ends)
