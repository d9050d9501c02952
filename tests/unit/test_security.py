"""What SECURITY.md promises of messages, and that it names a test for each promise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "SECURITY.md").read_text()
FILES = sorted(file for root in ("api", "worker") for file in (REPOSITORY / root).rglob("*.py"))
# These run what the data tells them to.
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}


def unsafe(code: str) -> Iterator[str]:
    """What in a module could run code that comes from data."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in UNSAFE_MODULES)
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in UNSAFE_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            if (name := ast.unparse(node.func)) in UNSAFE_CALLS:
                yield name
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if words.get("shell", "False") != "False":
                yield "shell=True"


def test_no_module_runs_what_data_tells_it_to() -> None:
    found = {str(file.relative_to(REPOSITORY)): list(unsafe(file.read_text())) for file in FILES}
    assert len(found) > 50
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "eval(text)",
        "yaml.load(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_check_sees_it(code: str) -> None:
    assert list(unsafe(code))
    assert not list(unsafe("redis.eval(script)\nsubprocess.run(words, shell=False)\nimport json"))


def test_every_application_of_celery_takes_json_only() -> None:
    made, accepted = 0, []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                made += ast.unparse(node.func) in ("Celery", "celery.Celery", "_OwnCelery")
                accepted += [
                    ast.unparse(word.value) for word in node.keywords if word.arg == "accept_content"
                ]
    assert made >= 1
    assert accepted == ["['json']"] * made


def test_each_promise_says_where_it_is_explained_and_tested() -> None:
    rows = re.findall(r"^\| (\*\*.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert len(rows) >= 8
    for promise, more, tests in rows:
        assert re.search(r"\]\((docs/[a-z-]+|README)\.md#", more), promise
        assert re.search(r"\]\(tests/[\w/]+\.py\)", tests), promise
