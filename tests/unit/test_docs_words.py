"""Pages, docstrings and comments use the words of the glossary, and none of the words that it replaced."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GLOSSARY = REPOSITORY / "docs" / "design.md"
# command-reference.md and the marked tables are written from the code's own texts.
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    REPOSITORY / "SECURITY.md",
    *sorted(page for page in (REPOSITORY / "docs").glob("*.md") if page.name != "command-reference.md"),
]
_WRITTEN = re.compile(r"<!-- [a-z]+: written by .*?<!-- end of [a-z]+ -->", re.DOTALL)
_CODE = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$|`+[^`]*`+", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"\*[^*\n]+\*|\]\([^)]*\)")

WORDS = {
    "source", "entry", "index", "volume", "job", "sample", "ledger", "message", "batch", "lease",
    "reservation", "claim", "session", "heartbeat", "grace period", "fleet", "embedded",
    "job monitor", "circuit breaker", "counters", "allowlist", "retry",
}  # fmt: skip
REPLACED = {
    r"puls(?:e|es)|signs? of life|beats?": "heartbeat",
    r"caretakers?": "job monitor",
    r"meters?": "counters",
    r"packs?": "message",
    r"allowed list|list of allowed sources": "allowlist",
    r"nobody|no one|somebody|someone|anybody|anyone|whoever|whomever": "the process, worker or user",
    r"(?:goes|gone|go|went|going) on with": "continue, resume",
    r"in good order": "cleanly",
    r"what can be had|cannot be had": "can be fetched",
    r"taken in|take in|takes in": "added to the index",
}  # fmt: skip


def test_the_glossary_has_each_word_once() -> None:
    words = Counter(re.findall(r"^\| \*([^*]+)\* \| \S", GLOSSARY.read_text(), re.MULTILINE))
    assert words == Counter(WORDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_the_word_of_the_glossary(page: Path) -> None:
    assert replaced_words(page.read_text()) == {}


@pytest.mark.parametrize("root", ["api", "worker", "scripts"])
def test_docstrings_and_comments_use_the_words_of_the_glossary(root: str) -> None:
    files = {
        path.relative_to(REPOSITORY): "\n".join(comments_of(path))
        for path in sorted((REPOSITORY / root).rglob("*"))
        if path.suffix in (".py", ".lua") or (root == "scripts" and path.is_file() and not path.suffix)
    }
    assert files
    found = {file: words for file, text in files.items() if (words := replaced_words(text))}
    assert found == {}


def test_code_quotes_and_tables_of_the_code_are_no_prose() -> None:
    text = "a\n```lua\n-- nobody\n```\nb `beat` c *somebody* d [e](f.md#pack)\n"
    text += "<!-- settings: written by a test -->\nnobody\n<!-- end of settings -->\n"
    assert prose_of(text).split() == ["a", "b", "c", "d", "[e"]


def test_docstrings_and_comments_are_the_prose_of_code(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""One."""\nx = "# no"  # two\n\ndef f():\n    """Three ``beat``."""\n')
    assert prose_of(" ".join(comments_of(file))).split() == ["#", "two", "One.", "Three", "."]
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n# four\necho five\n")
    assert list(comments_of(script)) == ["#!/bin/sh", "# four"]


def replaced_words(text: str) -> dict[str, str]:
    """The words of a text that the glossary has replaced, each with what to write instead."""
    return {
        word: f"write {instead!r}"
        for pattern, instead in REPLACED.items()
        for word in re.findall(rf"\b(?:{pattern})\b", prose_of(text), re.IGNORECASE)
    }


def prose_of(text: str) -> str:
    """What is written by hand: no code, no quoted message, no table that a test writes."""
    return _QUOTED.sub(" ", _CODE.sub(" ", _WRITTEN.sub(" ", text)))


def comments_of(file: Path) -> Iterator[str]:
    """The comments of a file of Python, Lua or shell; of Python the docstrings, too."""
    text = file.read_text()
    if file.suffix != ".py" and not text.startswith("#!/usr/bin/env python"):
        yield from re.findall(r"^ *((?:#|--).*)", text, re.MULTILINE)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        # Attributes have docstrings, too: any expression that is only a string.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
