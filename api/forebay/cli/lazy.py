"""Command groups that import a command's module when the command is used."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import typer
import typer.core
import typer.main


@dataclass(frozen=True)
class LazyCommand:
    """A command that is not imported yet.

    Attributes:
        module: the module whose ``register`` adds the command to an application.
        summary: the first line of its help, for the group's own help and for shell completion.
    """

    module: str
    summary: str


class LazyGroup(typer.core.TyperGroup):
    """A group that imports no command to list the commands.

    Help and shell completion show the summaries; everything else gets the command itself.
    """

    lazy: ClassVar[Mapping[str, LazyCommand]] = {}

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.commands = _Commands(self.lazy)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with self._summaries():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        with self._summaries():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _summaries(self) -> Iterator[None]:
        commands = self.commands
        self.commands = {
            name: typer.core.TyperCommand(name, help=command.summary) for name, command in self.lazy.items()
        }
        try:
            yield
        finally:
            self.commands = commands


class _Commands(MutableMapping[str, Any]):
    """The commands by name; the module of one is imported when it is looked up."""

    def __init__(self, lazy: Mapping[str, LazyCommand]) -> None:
        self._lazy = dict(lazy)
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            part = typer.Typer(rich_markup_mode="rich")
            importlib.import_module(self._lazy[name].module).register(part)
            self._loaded.update(typer.main.get_group(part).commands)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._lazy.setdefault(name, LazyCommand("", command.help or ""))
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._lazy[name]
        self._loaded.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._lazy

    def __iter__(self) -> Iterator[str]:
        return iter(self._lazy)

    def __len__(self) -> int:
        return len(self._lazy)
