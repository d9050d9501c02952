"""The pages use the words of the glossary, one word for one thing, and none of those that it replaced."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
GLOSSARY = REPOSITORY / "docs" / "design.md"
# command-reference.md and the marked tables are written from the code's own texts.
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted(page for page in (REPOSITORY / "docs").glob("*.md") if page.name != "command-reference.md"),
]
_WRITTEN = re.compile(r"<!-- [a-z]+: written by .*?<!-- end of [a-z]+ -->", re.DOTALL)
_CODE = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$|`[^`]*`", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"\*[^*\n]+\*|\]\([^)]*\)")

WORDS = {
    "source", "entry", "index", "volume", "job", "sample", "ledger", "message", "batch", "lease",
    "reservation", "claim", "session", "heartbeat", "grace period", "fleet", "embedded",
    "job monitor", "circuit breaker", "counters", "allowlist", "retry",
}  # fmt: skip
REPLACED = {
    r"puls(?:e|es)|sign of life|beats?": "heartbeat",
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
    prose = prose_of(page.read_text())
    found = {
        word: f"write {instead!r}"
        for pattern, instead in REPLACED.items()
        for word in re.findall(rf"\b(?:{pattern})\b", prose, re.IGNORECASE)
    }
    assert found == {}


def test_code_quotes_and_tables_of_the_code_are_no_prose() -> None:
    text = "a\n```lua\n-- nobody\n```\nb `beat` c *somebody* d [e](f.md#pack)\n"
    text += "<!-- settings: written by a test -->\nnobody\n<!-- end of settings -->\n"
    assert prose_of(text).split() == ["a", "b", "c", "d", "[e"]


def prose_of(text: str) -> str:
    """What is written by hand: no code, no quoted message, no table that a test writes."""
    return _QUOTED.sub(" ", _CODE.sub(" ", _WRITTEN.sub(" ", text)))
