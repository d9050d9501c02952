"""What is run before a commit, before a merge and on a forge is what the Makefile has."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
# `on` is a boolean in YAML 1.1, which does not matter here.
WORKFLOW: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text())
HOOKS: list[dict[str, Any]] = [
    hook
    for repository in yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
]
STEPS: list[dict[str, Any]] = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PYTHONS = [
    found[1]
    for classifier in PROJECT["project"]["classifiers"]
    if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", classifier))
]


def makes(text: str) -> list[str]:
    """The targets that a script makes."""
    return re.findall(r"(?:^|&& *)make ([a-z-]+)", text, re.MULTILINE)


class TestTheWorkflow:
    def test_makes_what_the_makefile_has(self) -> None:
        made = [target for step in STEPS for target in makes(step.get("run", ""))]
        assert {"lint", "test", "test-pythons"} <= set(made) <= TARGETS

    def test_runs_on_every_python_that_the_project_promises(self) -> None:
        matrix = WORKFLOW["jobs"]["pythons"]["strategy"]["matrix"]
        assert matrix["python"] == PYTHONS, "3.10 without quotation marks is 3.1"
        assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"
        systems = {re.sub("-.*", "", system) for system in matrix["system"]}
        assert systems == {"ubuntu", "macos"}

    def test_may_only_read(self) -> None:
        assert WORKFLOW["permissions"] == {"contents": "read"}
        assert [name for name, job in WORKFLOW["jobs"].items() if "permissions" in job] == []
        assert "secrets." not in str(WORKFLOW)

    def test_pins_actions_by_their_major_version(self) -> None:
        used = [step["uses"] for step in STEPS if "uses" in step]
        assert used
        assert [action for action in used if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []

    def test_is_cancelled_by_the_next_push(self) -> None:
        assert WORKFLOW["concurrency"]["cancel-in-progress"] is True

    def test_ends_where_something_hangs(self) -> None:
        assert all(job["timeout-minutes"] <= 120 for job in WORKFLOW["jobs"].values())


def test_the_hooks_are_what_lint_consists_of() -> None:
    found = re.search(r"^lint: (.*)", MAKEFILE, re.MULTILINE)
    assert found is not None
    assert [makes(hook["entry"]) for hook in HOOKS] == [[part] for part in found[1].split()]
    assert {(hook["language"], hook["pass_filenames"]) for hook in HOOKS} == {("system", False)}


@pytest.mark.parametrize(
    ("hook", "file", "concerned"),
    [
        ("lint-style", "bench/__main__.py", True),
        ("lint-style", "scripts/screenshots", True),
        ("lint-style", "docs/index.md", False),
        ("lint-types", "api/forebay/cache.py", True),
        ("lint-types", "scripts/screenshots", True),
        ("lint-types", "tests/unit/test_uri.py", False),
        ("lint-layers", "worker/forebay_worker/log.py", True),
        ("lint-layers", "tests/unit/test_layering.py", True),
        ("lint-layers", "bench/__main__.py", False),
    ],
)
def test_a_hook_runs_where_a_file_can_change_its_result(hook: str, file: str, concerned: bool) -> None:
    pattern = next(one["files"] for one in HOOKS if one["id"] == hook)
    assert bool(re.search(pattern, file)) is concerned


def test_what_runs_before_a_merge_is_in_the_makefile() -> None:
    found = re.search(r"^for target in (.*); do$", (REPOSITORY / ".ci" / "run").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1].split() == ["lint", "test"]
    assert {"lint", "test"} <= TARGETS


def test_every_script_in_python_is_checked() -> None:
    scripts = [file for file in (REPOSITORY / "scripts").iterdir() if file.is_file() and not file.suffix]
    first_lines = {f"scripts/{file.name}": file.read_text().partition("\n")[0] for file in scripts}
    in_python = {name for name, line in first_lines.items() if "python" in line}
    assert in_python
    assert in_python <= set(PROJECT["tool"]["mypy"]["files"])
    assert in_python == set(PROJECT["tool"]["ruff"]["extend-include"])


def test_the_script_for_other_pythons_looks_for_each() -> None:
    script = (REPOSITORY / "scripts" / "test-pythons").read_text()
    assert re.findall(r" python(3\.\d+)", script.partition("set --")[2].partition("\n")[0]) == PYTHONS
