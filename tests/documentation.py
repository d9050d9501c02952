"""Runs the code blocks of a page, in order: ``python -m tests.documentation docs/page.md``.

What happens to a block depends on its language:

===================  =======================================================================
``python``           runs; all of a page's share one namespace
``shell``, ``bash``  runs with ``bash -euo pipefail``
``console``          runs every ``$ command``; the lines below it, if there are any, must be
                     its output, where ``...`` stands for anything; ``> `` continues a
                     command; it must succeed unless ``$ echo $?`` comes next
``json`` ``toml``    must be well formed
``yaml`` ``ini``
``lua``              must stand like that in a script of Forebay
``text`` ``mermaid`` is for reading only
===================  =======================================================================

Any other language, or none, is an error, so that no block is left out by mistake. Blocks run in the
current directory and environment; with ``<!-- in the repository -->`` on a line before a block, that
block runs in the repository.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tempfile
import textwrap
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
IN_REPOSITORY = "<!-- in the repository -->"
_FENCE = re.compile(r"( *)(`{3,}|~{3,}) *([^\s`]*)[^`]*\n?\Z")
_BASH = ("bash", "-euo", "pipefail", "-c")


class BlockError(Exception):
    """A block does not do what it says; the message shows what happened."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Attributes:
        line: the number of its first line of code, from 1.
        in_repository: whether it asks to run in the repository.
    """

    language: str
    code: str
    line: int
    in_repository: bool = False


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page of Markdown.

    Raises:
        BlockError: a block is never closed.
    """
    blocks, lines = [], text.splitlines(keepends=True)
    i, in_repository = 0, False
    while i < len(lines):
        opening = _FENCE.match(lines[i])
        if opening is None:
            in_repository = IN_REPOSITORY in lines[i] or (in_repository and not lines[i].strip())
            i += 1
            continue
        indent, fence, language = opening.groups()
        closing = re.compile(rf" *{re.escape(fence[0])}{{{len(fence)},}} *\n?\Z")
        first = i = i + 1
        while i < len(lines) and not closing.match(lines[i]):
            i += 1
        if i == len(lines):
            raise BlockError(f"line {first}: the block is never closed")
        code = "".join(line[len(indent) :] if line.startswith(indent) else line for line in lines[first:i])
        blocks.append(Block(language, code, first + 1, in_repository))
        i, in_repository = i + 1, False
    return blocks


def run_page(page: Path) -> int:
    """Runs all blocks of a page and returns how many there were.

    Raises:
        BlockError: the first that fails, with page, line, code and output.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    blocks = blocks_of(page.read_text())
    for block in blocks:
        try:
            _run(block, page, namespace)
        except BlockError as error:
            code = textwrap.indent(block.code.rstrip(), "    ")
            raise BlockError(f"{page}:{block.line}: {error}\n\n{code}") from None
    return len(blocks)


def _run(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    directory = REPOSITORY if block.in_repository else Path.cwd()
    match block.language:
        case "python":
            _run_python(block, page, namespace)
        case "shell" | "bash":
            status, output = _bash(block.code, directory)
            if status:
                raise BlockError(f"ended with status {status} and said:\n{output}")
        case "console":
            _run_console(block, directory)
        case "json" | "toml" | "yaml" | "ini":
            _parse(block)
        case "lua":
            _find_in_scripts(block)
        case "text" | "mermaid":
            pass
        case language:
            raise BlockError(f"the language {language!r} is not one that can be tested; see {__name__}")


def _run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    # The page itself serves as source file, so that a traceback shows its lines.
    try:
        code = compile("\n" * (block.line - 1) + block.code, str(page), "exec", dont_inherit=True)
        exec(code, namespace)
    except BaseException:
        lines = traceback.format_exc().splitlines()
        ours = next((i for i, line in enumerate(lines) if f'"{page}"' in line), 1)
        raise BlockError("\n".join(["raised", *lines[ours:]])) from None


def _bash(code: str, directory: Path) -> tuple[int, str]:
    # To a file, because a process that the code leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        done = subprocess.run(
            [*_BASH, code],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        return done.returncode, output.read()


def _run_console(block: Block, directory: Path) -> None:
    steps = _steps(block)
    mark = "=== end of a step ==="
    script = ["set +e"]
    for command, _ in steps:
        script += ["{", command, "}", f"__status=$?; printf '\\n{mark}%d\\n' $__status; (exit $__status)"]
    status, output = _bash("\n".join([*script, "exit 0"]), directory)
    parts = re.split(rf"\n{mark}(\d+)\n", output)
    if len(parts) != 2 * len(steps) + 1:
        raise BlockError(f"ended early, with status {status}, and said:\n{output}")
    for i, (command, expected) in enumerate(steps):
        got, status = parts[2 * i], int(parts[2 * i + 1])
        if status and (i + 1 == len(steps) or not steps[i + 1][0].startswith("echo $?")):
            raise BlockError(f"`{command}` ended with status {status} and said:\n{got}")
        if expected and not matches(expected, got):
            raise BlockError(f"`{command}` was to print\n{expected}\nbut printed\n{got}")


def _steps(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that is expected of it."""
    steps: list[tuple[str, str]] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        elif not steps:
            raise BlockError(f"a console block begins with '$ ', not with {line!r}")
        elif line.startswith("> ") and not steps[-1][1]:
            steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", "")
        else:
            steps[-1] = (steps[-1][0], f"{steps[-1][1]}{line}\n")
    return steps


def matches(expected: str, got: str) -> bool:
    """Whether ``got`` is what ``expected`` says, where ``...`` stands for anything; spaces at the
    ends of lines and empty lines at the end do not count."""
    expected, got = ("\n".join(map(str.rstrip, text.rstrip().splitlines())) for text in (expected, got))
    pattern = ".*".join(re.escape(part) for part in expected.split("..."))
    return re.fullmatch(pattern, got, re.DOTALL) is not None


def _parse(block: Block) -> None:
    try:
        match block.language:
            case "json":
                json.loads(block.code)
            case "toml":
                tomllib.loads(block.code)
            case "yaml":
                list(yaml.safe_load_all(block.code))
            case "ini":
                configparser.ConfigParser(interpolation=None).read_string(block.code)
    except (ValueError, yaml.YAMLError, configparser.Error) as error:
        raise BlockError(f"is not valid {block.language}: {error}") from None


def _find_in_scripts(block: Block) -> None:
    wanted = textwrap.dedent(block.code).strip()
    for script in (REPOSITORY / "api").rglob("*.lua"):
        lines = script.read_text().splitlines()
        size = len(wanted.splitlines())
        windows = ("\n".join(lines[i : i + size]) for i in range(len(lines)))
        if any(textwrap.dedent(window).strip() == wanted for window in windows):
            return
    raise BlockError("stands like that in no script under api/")


if __name__ == "__main__":
    try:
        count = run_page(Path(sys.argv[1]))
    except BlockError as error:
        sys.exit(str(error))
    print(f"{count} blocks")
