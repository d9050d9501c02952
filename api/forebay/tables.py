"""Tables that notebooks show of what calls return: plain HTML, in the colours of the page around it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol, TypeVar

# A notebook keeps what it shows; a list of a million samples would make it unusable.
MAX_ROWS = 100


class Number(str):
    """The text of a number, which is aligned to the right."""

    __slots__ = ()


class Tabular(Protocol):
    """What has a row in a table."""

    def _cells(self) -> dict[str, str]:
        """The texts of the cells, by the titles of their columns."""


_T = TypeVar("_T", bound=Tabular)


class TableList(list[_T]):
    """A list that notebooks show as a table.

    Args:
        items: of the list.
        noun: what they are, for the text beside an empty or a long list.
    """

    def __init__(self, items: Iterable[_T] = (), noun: str = "rows") -> None:
        super().__init__(items)
        self._noun = noun

    def _repr_html_(self) -> str:
        return rows_of([one._cells() for one in self[:MAX_ROWS]], len(self), self._noun)


class Described(dict[str, Any]):
    """A dictionary that notebooks show as a table.

    Args:
        values: of the dictionary.
        shown: makes of it the texts of the table, by their titles.
    """

    def __init__(self, values: Mapping[str, Any], shown: Callable[[dict[str, Any]], dict[str, str]]) -> None:
        super().__init__(values)
        self._shown = shown

    def _repr_html_(self) -> str:
        return described(self._shown(self))

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor, as pickle would fill the dictionary first.
        return type(self), (dict(self), self._shown)


def rows_of(rows: Sequence[Mapping[str, str]], count: int | None = None, noun: str = "rows") -> str:
    """A table with a line for each row.

    Args:
        rows: the texts of the cells, by their titles; all have the same titles.
        count: how many there are in all, if these are the first of them.
        noun: what they are.
    """
    if not rows:
        return f"<em>no {escape(noun)}</em>"
    left = (count or 0) - len(rows)
    more = f"<p>and {left:,} more {escape(noun)}</p>" if left > 0 else ""
    head = "".join(_cell("th", title, isinstance(rows[0][title], Number)) for title in rows[0])
    lines = ("".join(_cell("td", text, isinstance(text, Number)) for text in row.values()) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def described(cells: Mapping[str, str]) -> str:
    """A table with a line for each value of one object."""
    lines = (f"<tr>{_cell('th', title)}{_cell('td', text)}</tr>" for title, text in cells.items())
    return f"<table><tbody>{''.join(lines)}</tbody></table>"


def clock(when: float) -> str:
    """A time of this time zone, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _cell(tag: str, text: str, right: bool = False) -> str:
    # No colours: the page may be light or dark.
    return f'<{tag} style="text-align: {"right" if right else "left"}">{escape(_printable(text))}</{tag}>'


def _printable(text: str) -> str:
    """A text that JSON and UTF-8 can hold: names in Redis may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()
