"""The tables of settings, in the README and on their own page, are complete, and say what the code says.

``python -m tests.unit.test_docs_settings`` writes the tables anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from forebay.config import CONFIG_PATH_VARIABLE, DEFAULT_CONFIG_PATH, MediaCacheConfig, env_name

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
    schema = MediaCacheConfig.model_json_schema()["properties"]
    lines = ["| setting | environment variable | default | allowed | meaning |", "|---|---|---|---|---|"]
    for name, field in MediaCacheConfig.model_fields.items():
        cells = (
            f"`{name}`",
            f"`{env_name(name)}`",
            _default(field),
            _allowed(schema[name], name),
            field.description,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


TABLES = {README: expected_table, PAGE: long_table}


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_page_lists_every_setting(page: Path) -> None:
    assert _table(page.read_text()) == TABLES[page](), "run python -m tests.unit.test_docs_settings"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 64}, "an integer, 1 to 64"),
        ({"type": "integer", "minimum": -1}, "an integer, at least -1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 600}, "a number, above 0, at most 600"),
        ({"anyOf": [{"type": "integer"}, {"const": "auto", "type": "string"}]}, "an integer, or `auto`"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"enum": ["a", "b"], "type": "string"}, "`a` or `b`"),
    ],
)
def test_what_is_allowed_is_put_into_words(schema: dict[str, Any], words: str) -> None:
    assert _allowed(schema) == words


def test_a_setting_with_a_unit_says_so() -> None:
    assert _allowed({"type": "integer", "minimum": -1}, "cache_size_bytes") == "a size, at least -1"
    assert _allowed({"type": "number", "minimum": 60}, "job_ttl_seconds") == "a duration, at least 60"


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_page_names_every_other_variable(page: Path) -> None:
    text, code = page.read_text(), ""
    for root in ("api", "worker"):
        code += "".join(path.read_text() for path in sorted((REPOSITORY / root).rglob("*.py")))
    others = set(re.findall(r"[\"'](FOREBAY_[A-Z_]+)[\"']", code))
    others |= {CONFIG_PATH_VARIABLE, DEFAULT_CONFIG_PATH}
    assert "FOREBAY_EMBEDDED_IDLE_SECONDS" in others
    assert {name for name in others if f"`{name}`" not in text} == set()


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None and field.default is not None:
        default = field.get_default(call_default_factory=True, validated_data={})
        return f"`{json.dumps(default)}`" if isinstance(default, dict) else "the number of CPUs"
    if field.default is None:
        return "none"
    return f"`{field.default if isinstance(field.default, str) else json.dumps(field.default)}`"


def _allowed(schema: dict[str, Any], name: str = "") -> str:
    if "anyOf" in schema:
        return ", or ".join(_allowed(kind) for kind in schema["anyOf"] if kind.get("type") != "null")
    values = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if values:
        return " or ".join(f"`{value}`" for value in values)
    kinds = {
        "integer": "an integer",
        "number": "a number",
        "boolean": "`true` or `false`",
        "string": "text",
        "array": "a list",
        "object": "an object",
    }
    kind = "a size" if name.endswith("_bytes") else "a duration" if name.endswith("_seconds") else None
    words = [kind or kinds[schema["type"]]]
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        words.append(f"{least} to {most}")
    elif least is not None:
        words.append(f"at least {least}")
    else:
        words += [f"above {schema['exclusiveMinimum']}"] if "exclusiveMinimum" in schema else []
        words += [f"at most {most}"] if most is not None else []
    return ", ".join(words)


def _table(text: str) -> str:
    return text.partition(_BEGIN)[2].partition(_END)[0].strip()


if __name__ == "__main__":
    for path, table in TABLES.items():
        before, begin, rest = path.read_text().partition(_BEGIN)
        path.write_text(f"{before}{begin}\n{table()}\n\n{_END}{rest.partition(_END)[2]}")
