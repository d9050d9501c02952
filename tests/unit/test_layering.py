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

# The rooms and the modules beside them, from the ground up. A module may import from lower floors, and from
# its own room where that makes no circle. The most specific name counts.
FLOORS = (
    {"forebay.tables"},
    {
        "forebay._version",
        "forebay.aside",
        "forebay.backoff",
        "forebay.errors",
        "forebay.forks",
        "forebay.new_directories",
        "forebay.processes",
        "forebay.threads",
    },
    {"forebay.retry", "forebay.uri", "forebay.logs"},
    {"forebay.capacity", "forebay.transport"},
    {"forebay.config"},
    {"forebay.embedded", "forebay.index", "forebay.sources"},
    {"forebay.volume"},
    {"forebay.eviction", "forebay.neighbours"},
    {"forebay.fetch"},
    {"forebay.parts"},
    {"forebay.jobs"},
    {"forebay.writable"},
    {"forebay.opened"},
    {"forebay.engine"},
    {"forebay.helper", "forebay.lookahead", "forebay.sample_lists"},
    {"forebay.cache"},
    {"forebay.headers", "forebay.manifests", "forebay.metrics", "forebay.remote"},
    {"forebay.schedules", "forebay.volumes"},
    {"forebay"},
    {"forebay.aio", "forebay.cvat", "forebay.torch"},
    {"forebay.checks", "forebay.fiftyone", "forebay.fsspec", "forebay_worker"},
    {"forebay.cli"},
    {"forebay.__main__"},
)
RANKS = {name: rank for rank, floor in enumerate(FLOORS) for name in floor}
OF_EXTRAS = {"fiftyone", "fsspec", "torch", "flower"}


def modules(*roots: str) -> dict[str, Path]:
    """The modules below source roots: their names and files."""
    found = {}
    for root in roots:
        for file in (REPOSITORY / root).rglob("*.py"):
            name = ".".join(file.relative_to(REPOSITORY / root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return dict(sorted(found.items()))


API, ALL = modules("api"), modules("api", "worker")


def imports(file: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """The imports of a file, at its top, in functions, and for type checkers; with their line numbers."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield (module if module in known else str(node.module)), node.lineno


def room(module: str) -> str:
    """The most specific name on a floor that a module belongs to."""
    parts = module.split(".")
    names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    # The top of the package is itself only: a new module beside the rooms needs a floor of its own.
    return next((name for name in names if name in RANKS and (name != "forebay" or module == name)), "")


def upward(known: dict[str, Path], ranks: dict[str, int]) -> list[str]:
    """Imports from a higher floor, or from another room of the same one."""
    return [
        f"{file}:{line}: {module} imports {imported}"
        for module, file in known.items()
        for imported, line in imports(file, known)
        if imported in known
        and room(imported) != room(module)
        and ranks[room(imported)] >= ranks[room(module)]
    ]


def circles(known: dict[str, Path]) -> list[list[str]]:
    """Modules that import each other, whether directly or by way of others (Tarjan's algorithm)."""
    graph = {
        module: {imported for imported, _ in imports(file, known) if imported in known}
        for module, file in known.items()
    }
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in graph[module]:
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = stack.index(module)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1 or module in graph[module]:
                found.append(sorted(group))

    for module in graph:
        if module not in order:
            visit(module)
    return found


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    assert [module for module in ALL if not room(module)] == []
    assert RANKS.keys() - {room(module) for module in ALL} == set()


def test_no_import_runs_upward() -> None:
    assert upward(ALL, RANKS) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(ALL) == []


@pytest.mark.parametrize("module", ALL)
def test_no_module_holds_more_than_400_lines(module: str) -> None:
    assert len(ALL[module].read_text().splitlines()) <= 400


@pytest.mark.parametrize("module", API)
def test_no_import_of_the_worker_or_of_what_only_extras_bring(module: str) -> None:
    forbidden = {"forebay_worker"} | OF_EXTRAS
    # A room that is for one of them has its name.
    forbidden.discard(module.partition(".")[2].partition(".")[0])
    wrong = [
        f"{API[module].relative_to(REPOSITORY)}:{line} imports {imported}"
        for imported, line in imports(API[module], ALL)
        if imported.split(".")[0] in forbidden
    ]
    assert not wrong


def test_the_check_sees_imports_wherever_they_stand(tmp_path: Path) -> None:
    # given a module that imports at its top, in a function, and for type checkers
    (tmp_path / "low.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import high\n"
        "def f():\n    from middle import name\n"
    )
    (tmp_path / "middle.py").write_text("import low\n")
    (tmp_path / "high.py").write_text("def f():\n    import middle\n")
    known = {name: tmp_path / f"{name}.py" for name in ("low", "middle", "high")}

    # then all three are one circle
    assert set(imports(known["low"], known)) == {("typing", 1), ("middle", 5), ("high", 3)}
    assert circles(known) == [["high", "low", "middle"]]


def test_no_two_modules_share_a_name() -> None:
    names = [name.rpartition(".")[2] for name, file in ALL.items() if file.name != "__init__.py"]
    assert {name for name in names if names.count(name) > 1} == set()


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


def test_a_hit_loads_nothing_that_only_opening_needs(tmp_path: Path) -> None:
    # given a cached file
    file = tmp_path / "media/s3/photos/a.jpg"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"pixels")

    # when a new process asks for its path
    config = f"forebay.MediaCacheConfig(cache_dir={str(tmp_path)!r})"
    code = f"import forebay; path = forebay.MediaCache({config}).local_path('s3://photos/a.jpg')"
    _, threads, loaded = watch(code + "; assert open(path, 'rb').read() == b'pixels'")

    # then it has loaded little more than the settings
    assert threads == 1
    assert {module for module in loaded if module.split(".")[0] == "forebay"} >= {"forebay.engine"}
    others = {module.split(".")[0] for module in loaded - watch("pass")[2]}
    assert others <= {"forebay"} | sys.stdlib_module_names
    assert not others & {"asyncio", "multiprocessing", "ssl", "http", "email", "subprocess", "concurrent"}
    rooms = {module.split(".")[1] for module in loaded if module.startswith("forebay.")}
    assert not rooms & {
        "opened",
        "writable",
        "embedded",
        "index",
        "sources",
        "transport",
        "fetch",
        "eviction",
        "neighbours",
        "jobs",
    }


def test_the_watch_sees_side_effects() -> None:
    code = "import threading, tempfile, time; tempfile.mkdtemp(); open('/dev/null', 'w')\n"
    code += "threading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    events, threads, _ = watch(code)
    assert {"os.mkdir", "open"} <= {event for event, _ in events}
    assert threads == 2
