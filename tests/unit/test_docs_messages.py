"""The messages that the page about troubleshooting explains are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "troubleshooting.md"
_TABLE = re.compile(r"^\| message \|.*\n\|---.*\n((?:\|.*\n)+)", re.MULTILINE)
# What stands for a value, or comes from a server (in parentheses), or joins two texts of the code.
_BETWEEN = re.compile(r"\([^)]*\)|…|\d+|\bN\b|\bFILE\b|\b(?:with|to)\b|http://")


def explained() -> list[str]:
    """The messages of the page, as it quotes them."""
    tables = "".join(_TABLE.findall(PAGE.read_text()))
    return re.findall(r"^\| \*(.+?)\*", tables, re.MULTILINE)


def texts() -> Iterator[str]:
    """Every text that stands in the code."""
    for file in [*(REPOSITORY / "api").rglob("*.py"), *(REPOSITORY / "worker").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(scope="module")
def said() -> str:
    return "\n".join(texts())


def fixed(message: str) -> list[str]:
    """The parts of a message that are always the same."""
    return [part for part in (part.strip(" ,;:") for part in _BETWEEN.split(message)) if part]


@pytest.mark.parametrize("message", explained())
def test_a_message_that_is_explained_is_one_of_the_code(message: str, said: str) -> None:
    assert fixed(message)
    assert [part for part in fixed(message) if part not in said] == []


def test_messages_are_found_and_taken_apart() -> None:
    assert len(explained()) > 25
    assert fixed("access denied (403 …) with …; the server does not say why") == [
        "access denied",
        "the server does not say why",
    ]
    assert fixed("workers ended N times while they fetched it") == [
        "workers ended",
        "times while they fetched it",
    ]
