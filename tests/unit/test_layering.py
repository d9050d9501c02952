"""Imports run one way only, and importing has no side effects."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

# Each may import from its own layer and from those above it in this list. What is not in it (the
# command line, the adapter for FiftyOne) may import everything, and nothing here may import it.
LAYERS = (
    {"_version", "backoff", "errors", "processes"},
    {"retry", "config", "logs", "uri", "threads"},
    {"index", "sources", "embedded"},
    # the volume, and what keeps index and disk together
    {"volume"},
    {"fetch", "eviction"},
    {"jobs"},
    {"cache", "lookahead", "headers", "manifests", "remote", "volumes"},
)
RANKS = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
OF_EXTRAS = {"fiftyone", "torch", "flower"}


def modules(root: str) -> dict[str, Path]:
    """The modules below a source root: their names and files."""
    files = (REPOSITORY / root).rglob("*.py")
    dotted = {file: ".".join(file.relative_to(REPOSITORY / root).with_suffix("").parts) for file in files}
    return {name.removesuffix(".__init__"): file for file, name in sorted(dotted.items())}


API, WORKER = modules("api"), modules("worker")


def imports(file: Path, *, known: dict[str, Path] = API) -> Iterator[tuple[str, int]]:
    """What a file imports, at its top or later, but not for type checkers only; with line numbers."""

    def nodes(parent: ast.AST) -> Iterator[ast.AST]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            yield node
            yield from nodes(node)

    for node in nodes(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield (module if module in known else str(node.module)), node.lineno


def rank(module: str) -> int:
    """The layer of a module, by the part of ``forebay`` that it belongs to."""
    return RANKS.get(module.split(".")[1], len(LAYERS))


def test_every_layer_is_there() -> None:
    assert RANKS.keys() <= {module.split(".")[1] for module in API if "." in module}


@pytest.mark.parametrize("module", [module for module in API if "." in module])
def test_imports_run_one_way(module: str) -> None:
    wrong = [
        f"{API[module].relative_to(REPOSITORY)}:{line} imports {imported}"
        for imported, line in imports(API[module])
        if imported.startswith("forebay.") and rank(imported) > rank(module)
    ]
    assert not wrong


@pytest.mark.parametrize("module", API)
def test_no_import_of_the_worker_or_of_what_only_extras_bring(module: str) -> None:
    forbidden = {"forebay_worker"} | OF_EXTRAS
    if module.startswith("forebay.fiftyone"):
        forbidden.remove("fiftyone")
    wrong = [
        f"{API[module].relative_to(REPOSITORY)}:{line} imports {imported}"
        for imported, line in imports(API[module])
        if imported.split(".")[0] in forbidden
    ]
    assert not wrong


def test_the_check_sees_imports_wherever_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import for_types\n"
        "import forebay.cache as c\n"
        "def f():\n    from forebay import jobs, __version__\n"
        "try:\n    import torch\nexcept ImportError:\n    pass\n"
    )
    assert list(imports(file)) == [
        ("typing", 1),
        ("forebay.cache", 4),
        ("forebay.jobs", 6),
        ("forebay", 6),
        ("torch", 8),
    ]


WATCH = """
import json, sys
events = []
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if isinstance(mode, str) and set(mode) & set("wax+"):
            events.append([event, str(path)])
    elif event.startswith(("socket.", "subprocess.", "os.mkdir", "os.rename", "os.remove", "os.putenv",
                           "os.fork", "signal.")) and event != "socket.__new__":
        events.append([event, ascii(arguments)])
sys.addaudithook(hook)
{code}
watched = list(events)
import threading
print(json.dumps([watched, threading.active_count(), sorted(sys.modules)]))
"""


def watch(code: str) -> tuple[list[list[str]], int, set[str]]:
    """Runs code in a new process: what it did to the outside, its threads and its modules."""
    command = [sys.executable, "-B", "-c", WATCH.replace("{code}", code)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    events, threads, loaded = json.loads(output)
    return events, threads, set(loaded)


def test_importing_forebay_has_no_side_effects() -> None:
    events, threads, loaded = watch("import forebay")
    assert events == []
    assert threads == 1
    before = watch("pass")[2]
    new = {module.split(".")[0] for module in loaded - before}
    assert new <= {"forebay"} | sys.stdlib_module_names, "heavy modules wait until they are used"
    assert not new & {"asyncio", "multiprocessing", "ssl", "http", "email"}


def test_importing_the_cache_has_none_either() -> None:
    events, threads, loaded = watch("import forebay.cache")
    assert events == []
    assert threads == 1
    assert not {module.split(".")[0] for module in loaded} & (OF_EXTRAS | {"forebay_worker"})


def test_the_watch_sees_side_effects() -> None:
    code = "import threading, tempfile, time; tempfile.mkdtemp(); open('/dev/null', 'w')\n"
    code += "threading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    events, threads, _ = watch(code)
    assert {"os.mkdir", "open"} <= {event for event, _ in events}
    assert threads == 2
