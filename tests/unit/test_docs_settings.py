"""The README's table of settings is complete, and says what the code says.

``python -m tests.unit.test_docs_settings`` writes the table anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from pydantic.fields import FieldInfo

from forebay.config import CONFIG_PATH_VARIABLE, DEFAULT_CONFIG_PATH, MediaCacheConfig, env_name

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
_BEGIN, _END = "<!-- settings: written by tests/unit/test_docs_settings.py -->\n", "<!-- end of settings -->"


def expected_table() -> str:
    """Every setting: its name, its variable, its default, its meaning."""
    lines = ["| setting | environment variable | default | meaning |", "|---|---|---|---|"]
    for name, field in MediaCacheConfig.model_fields.items():
        lines.append(f"| `{name}` | `{env_name(name)}` | {_default(field)} | {field.description} |")
    return "\n".join(lines)


def test_the_readme_lists_every_setting() -> None:
    assert _table(README.read_text()) == expected_table(), "run python -m tests.unit.test_docs_settings"


def test_the_readme_names_every_other_variable() -> None:
    text, code = README.read_text(), ""
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


def _table(text: str) -> str:
    return text.partition(_BEGIN)[2].partition(_END)[0].strip()


if __name__ == "__main__":
    before, begin, rest = README.read_text().partition(_BEGIN)
    README.write_text(f"{before}{begin}\n{expected_table()}\n\n{_END}{rest.partition(_END)[2]}")
