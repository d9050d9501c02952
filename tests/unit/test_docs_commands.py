"""The page of all commands and options is complete, and says what the code says.

``python -m tests.unit.test_docs_commands`` writes the page anew.
"""

from __future__ import annotations

import enum
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main
import yaml

from forebay.cli.main import app
from tests.documentation import blocks_of

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "command-reference.md"
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
_CALL = re.compile(r"(?:^|[$;|&(] ?|--rm |-T |=\S* )forebay ((?:[a-z-]|\[OPTIONS\])[^&|;)>]*)")
_BLOCK = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"(?<![\w/.-])(?:bench|docker|docs|examples|scripts|tests)/[\w./-]*\w")

_BEGINNING = """\
# Every command and option

```console
$ forebay --version
forebay ...
$ forebay prefetch --help
...
```

<!-- This page is written by tests/unit/test_docs_commands.py, from what the commands say of themselves. -->

[The command line](command-line.md) shows them at work, with their exit statuses. The options of `forebay`
itself may also stand behind each command; most of them are [settings](settings.md).
"""


def page() -> str:
    """The page, from the commands themselves."""
    return _BEGINNING + "".join(_sections("forebay", typer.main.get_command(app)))


def test_the_page_lists_every_command_and_every_option() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.unit.test_docs_commands"


def test_what_is_written_is_complete() -> None:
    text = page()
    for heading in ("## forebay", "## forebay prefetch", "### forebay lease add"):
        assert f"\n{heading}\n" in text
    prefetch = text.partition("\n## forebay prefetch\n")[2].partition("\n## ")[0]
    assert "| `--lease TIME` | Keep all samples from eviction for this time: 90s, 30m, 24h, 7d. |" in prefetch
    assert "| `--wait`, `--no-wait` |" in prefetch
    assert "forebay prefetch @manifest.csv --column image --lease 24h\n" in prefetch
    assert "--cache-dir" not in prefetch, "it is an option of every command, shown once"


def test_every_command_says_what_it_is_for() -> None:
    for name, command in _commands("forebay", typer.main.get_command(app)):
        assert command.help, name
        for parameter in _shown(command):
            assert parameter.help, f"{name}: {parameter.name}"


def test_values_and_defaults_are_shown() -> None:
    text = page()
    assert "| `--sort uri\\|size\\|used\\|fetched` |" in text
    assert "by default uri" in text
    assert "forebay verify [OPTIONS] {URI|PREFIX/|@FILE|-}..." in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_page_shows_but_does_not_run_is_a_command(document: Path) -> None:
    """Blocks of text hold what needs a cluster or ends nowhere: at least its commands and options exist."""
    wrong = [line for line in _shown_only(document.read_text()) if not _is_understood(line)]
    assert not wrong


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_of_the_repository_that_it_shows_are_there(document: Path) -> None:
    shown = _FILE.findall("\n".join(_shown_code(document.read_text())))
    assert [path for path in shown if not (REPOSITORY / path).exists()] == []


def test_what_compose_is_told_is_in_its_file() -> None:
    """Services by their names, profiles by those that services have."""
    file = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    profiles = {profile for service in file.values() for profile in service.get("profiles", [])}
    text = "\n".join(_shown_code((REPOSITORY / "docs" / "compose.md").read_text()))

    assert set(re.findall(r"--profile ([a-z]+)", text)) == profiles - {"cli"}
    run = re.findall(r"docker compose (?:run|exec|restart|logs)(?: -\S+(?: \d+)?)* ([a-z]\w*)", text)
    scaled = re.findall(r"--scale (\w+)=", text)
    assert {"forebay", "redis", "worker"} <= {*run, *scaled} <= file.keys()


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        ("prefetch s3://bucket/ --lease 24h", True),
        ("--volume a prefetch s3://bucket/ --redis-url=redis://host", True),
        ("lease add @manifest.txt --for 24h", True),
        ("prefetched s3://bucket/", False),
        ("prefetch s3://bucket/ --leese 24h", False),
        ("lease ad @manifest.txt", False),
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str, understood: bool) -> None:
    assert _is_understood(line) is understood
    assert list(_shown_only(f"```text\n$ X=1 forebay {line} && echo    # why\n```\n")) == [line]
    assert list(_shown_only(f"| one | with `forebay {line}` |\n")) == [line]


def _shown_only(text: str) -> Iterator[str]:
    """What stands behind ``forebay`` in the blocks of text of a page, and in its sentences and tables."""
    for code in _shown_code(text):
        for line in code.splitlines():
            for found in _CALL.finditer(re.sub(r"\s#.*", "", line)):
                yield found[1].strip()


def _shown_code(text: str) -> Iterator[str]:
    """The code of a page that does not run."""
    yield from (block.code for block in blocks_of(text) if block.language == "text")
    yield from re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))


def _is_understood(line: str) -> bool:
    command: Any = typer.main.get_command(app)
    known = {name for parameter in command.params for name in parameter.opts}
    words = [word for word in shlex.split(line) if word not in ("[OPTIONS]", "COMMAND")]
    for i, word in enumerate(words):
        if word.startswith("-") and word != "-":
            if word.partition("=")[0] not in known | {"--help", "-h"}:
                return False
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]
            known |= {n for p in command.params for n in (*p.opts, *p.secondary_opts)}
        elif getattr(command, "commands", None) and not (i and words[i - 1].startswith("-")):
            return word.isupper()
    return True


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and all that are below it, with the words that call them."""
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {word}", inner)


def _sections(name: str, command: Any) -> Iterator[str]:
    for words, each in _commands(name, command):
        level = "##" if len(words.split()) < 3 else "###"
        yield f"\n{level} {words}\n\n{_plain(inspect.cleandoc(each.help))}\n"
        yield f"\n```text\n{_usage(words, each)}\n```\n"
        rows = [(_written(each, parameter), _meaning(parameter)) for parameter in _shown(each)]
        if rows:
            yield "\n| argument or option | meaning |\n|---|---|\n"
            yield from (f"| {left} | {right} |\n" for left, right in rows)
        examples = [line for line in (each.epilog or "").splitlines() if "forebay" in line]
        if examples:
            joined = "\n".join(examples)
            yield f"\n```text\n{joined}\n```\n"


def _shown(command: Any) -> list[Any]:
    """The parameters that its help shows, but for those that every command has."""
    of_all = ("help", "install_completion", "show_completion")
    return [p for p in command.params if not p.hidden and p.name not in of_all]


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _usage(words: str, command: Any) -> str:
    arguments = [p for p in command.params if not _is_option(p) and not p.hidden]
    parts = [words, "[OPTIONS]"] if _shown(command) != arguments else [words]
    for argument in arguments:
        text = _metavar(command, argument)
        text = f"{{{text}}}" if "|" in text else text
        text += "..." if argument.nargs == -1 else ""
        parts.append(text if argument.required else f"[{text}]")
    return " ".join([*parts, *(["COMMAND"] if getattr(command, "commands", None) else [])])


def _metavar(command: Any, parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    kind = get_type_hints(command.callback).get(parameter.name)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(member.value) for member in kind)
    return str(parameter.name.upper())


def _written(command: Any, parameter: Any) -> str:
    if not _is_option(parameter):
        return f"`{_cell(_metavar(command, parameter))}`"
    takes_value = not (parameter.is_flag or parameter.count)
    value = f" {_cell(_metavar(command, parameter))}" if takes_value else ""
    return ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _meaning(parameter: Any) -> str:
    text = _plain(parameter.help)
    if not parameter.show_default or parameter.default in (None, False, "", (), []):
        return text
    default = parameter.opts[0] if parameter.default is True else parameter.default
    default = default.value if isinstance(default, enum.Enum) else default
    return f"{text.removesuffix('.')}; by default {default}."


def _plain(text: str) -> str:
    """A help text without rich's markup, as Markdown."""
    text = re.sub(r"\[/?[a-z ]*\]", "", text)
    return re.sub(r"([*<>_|])", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
