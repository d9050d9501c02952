"""The map and the walks of CONTRIBUTING.md name rooms, files and functions that exist."""

from __future__ import annotations

import ast
import re
from itertools import groupby
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text()
WALKS = dict(re.findall(r"^\*\*(.+)\*\*\n\n((?:(?:\d+\. |   ).+\n)+)", PAGE, re.MULTILINE))
PLACE = re.compile(r"`([\w/]+\.py)`, `([\w.]+)`")


def steps(walk: str) -> list[tuple[Path, str]]:
    """The files and functions of a walk; files are named from the package's folder or the repository's."""
    found = []
    for line in WALKS[walk].replace("\n   ", " ").splitlines():
        places = PLACE.findall(line)
        assert places, f"this step names no file and function: {line}"
        assert line.count(".py`") == len(places), f"this step names a file without its function: {line}"
        for file, function in places:
            below = REPOSITORY / ("" if file.startswith("worker/") else "api/forebay")
            found.append((below / file, function))
    return found


def definitions(file: Path) -> set[str]:
    """Every function of a file, methods with their class's name."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return names


def test_there_are_three_walks() -> None:
    assert len(WALKS) == 3


@pytest.mark.parametrize("walk", WALKS)
def test_each_step_of_a_walk_exists(walk: str) -> None:
    missing = [f"{file}: {name}" for file, name in steps(walk) if name not in definitions(file)]
    assert missing == []


@pytest.mark.parametrize("walk", WALKS)
def test_no_walk_passes_a_room_twice(walk: str) -> None:
    rooms = [
        room
        for room, _ in groupby(
            file.parent if file.parent.name != "forebay" else file for file, _ in steps(walk)
        )
    ]
    assert len(rooms) == len(set(rooms))


def test_the_map_names_every_room() -> None:
    rooms = {path.name for path in (REPOSITORY / "api/forebay").iterdir() if (path / "__init__.py").exists()}
    shown = PAGE[PAGE.index("## Where things are") : PAGE.index("### Three walks")]
    assert rooms - set(re.findall(r"(\w+)/", shown)) == set()
