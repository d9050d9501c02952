"""The page about the index shows every script's header and every key."""

from __future__ import annotations

import inspect
import re
from itertools import takewhile
from pathlib import Path

import pytest

from forebay.index import keys

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "index-keys-and-scripts.md").read_text()
SCRIPTS = sorted((REPOSITORY / "api").rglob("*.lua"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_page_shows_the_header_of_every_script(script: Path) -> None:
    lines = takewhile(lambda line: line.startswith("--"), script.read_text().splitlines())
    assert f"```lua\n{chr(10).join(lines)}\n```\n" in PAGE
    assert f"**{script.stem}**" in PAGE


def test_the_page_lists_every_key() -> None:
    names = set(re.findall(r"^``([a-z:]+)``", inspect.getdoc(keys.Keys) or "", re.MULTILINE))
    names |= set(re.findall(r'self\.prefix \+ "([a-z:]+)"', inspect.getsource(keys)))
    assert len(names) > 10
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
