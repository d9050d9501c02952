"""The tables of settings, in the README and on their own page, are complete, and say what the code says.

``python -m tests.unit.test_docs_settings`` writes the tables anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from forebay.config import CONFIG_PATH_VARIABLE, DEFAULT_CONFIG_PATH, MediaCacheConfig, env_name
from forebay.config.declaring import Setting
from forebay.config.kinds import INTEGER, SECONDS, TEXT, Kind, bounded, choice, either, optional

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
PAGE = REPOSITORY / "docs" / "settings.md"
_BEGIN, _END = "<!-- settings: written by tests/unit/test_docs_settings.py -->\n", "<!-- end of settings -->"


def expected_table() -> str:
    """Every setting: its name, its variable, its default, its meaning."""
    lines = ["| setting | environment variable | default | meaning |", "|---|---|---|---|"]
    for name, field in MediaCacheConfig.model_fields.items():
        lines.append(f"| `{name}` | `{env_name(name)}` | {_default(field)} | {field.description} |")
    return "\n".join(lines)


def long_table() -> str:
    """The same, with what each setting may be."""
    lines = ["| setting | environment variable | default | allowed | meaning |", "|---|---|---|---|---|"]
    for name, field in MediaCacheConfig.model_fields.items():
        cells = (
            f"`{name}`",
            f"`{env_name(name)}`",
            _default(field),
            field.kind.words,
            field.description,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


TABLES = {README: expected_table, PAGE: long_table}


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_page_lists_every_setting(page: Path) -> None:
    assert _table(page.read_text()) == TABLES[page](), "run python -m tests.unit.test_docs_settings"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (bounded(INTEGER, at_least=1, at_most=64), "an integer, 1 to 64"),
        (bounded(INTEGER, at_least=-1), "an integer, at least -1"),
        (bounded(SECONDS, above=0, at_most=600), "a duration, above 0, at most 600"),
        (either(INTEGER, choice("auto")), "an integer, or `auto`"),
        (optional(TEXT), "text"),
        (choice("a", "b"), "`a` or `b`"),
    ],
)
def test_what_is_allowed_is_put_into_words(kind: Kind, words: str) -> None:
    assert kind.words == words


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_page_names_every_other_variable(page: Path) -> None:
    text, code = page.read_text(), ""
    for root in ("api", "worker"):
        code += "".join(path.read_text() for path in sorted((REPOSITORY / root).rglob("*.py")))
    others = set(re.findall(r"[\"'](FOREBAY_[A-Z_]+)[\"']", code))
    others |= {CONFIG_PATH_VARIABLE, DEFAULT_CONFIG_PATH}
    assert "FOREBAY_EMBEDDED_IDLE_SECONDS" in others
    assert {name for name in others if f"`{name}`" not in text} == set()


def _default(field: Setting) -> str:
    if field.is_computed:
        return "the number of CPUs"
    default = field.default()
    if default is None:
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _table(text: str) -> str:
    return text.partition(_BEGIN)[2].partition(_END)[0].strip()


if __name__ == "__main__":
    for path, table in TABLES.items():
        before, begin, rest = path.read_text().partition(_BEGIN)
        path.write_text(f"{before}{begin}\n{table()}\n\n{_END}{rest.partition(_END)[2]}")
