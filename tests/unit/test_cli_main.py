"""How a command ends: its exit status, and what it says of errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import typer
import typer.main

from forebay.cli import content_commands, job_commands, prefetch_commands
from forebay.cli.commands import COMMANDS
from forebay.cli.main import app, run
from forebay.cli.output import ago
from forebay.cli.shared_options import State
from forebay.config import MediaCacheConfig
from forebay.config.sizes import count, span
from forebay.errors import CacheFullError, ConfigError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes every command fail."""

    def fail(error: BaseException) -> None:
        def cache(_: State) -> Any:
            raise error

        monkeypatch.setattr(State, "known_cache", cache)

    return fail


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ConfigError("bad setting"), 2, "error: bad setting\n"),
        (CacheFullError("no room"), 1, "error: no room\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_are_told_without_a_traceback(
    failing: Callable[[BaseException], None],
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    said: str,
) -> None:
    failing(error)
    assert run(["stats"]) == status
    assert capfd.readouterr() == ("", said)


def test_a_bug_is_called_one(
    failing: Callable[[BaseException], None], capfd: pytest.CaptureFixture[str]
) -> None:
    failing(ZeroDivisionError("division by zero"))

    assert run(["stats"]) == 1

    assert capfd.readouterr().err.splitlines() == [
        "error: ZeroDivisionError: division by zero",
        "This is a bug in Forebay; with --verbose the command shows where it happened. Please report it.",
    ]
    with pytest.raises(ZeroDivisionError):
        run(["stats", "--verbose"])


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[MediaCacheConfig] = []

    def cache(state: State) -> Any:
        seen.append(state.config())
        raise ConfigError("enough")

    monkeypatch.setattr(State, "known_cache", cache)
    options = ["--cache-dir", "/x", "--cache-size", "1.5GB", "--volume", "v", "--num-workers", "3"]
    run([*options, "--redis-url", "redis://h/1", "--dispatch", "fleet", "ls"])
    run(["stats", "--cache-size", "-1", "--cache-dir", "/y"])

    assert seen[0].model_dump(include={"cache_dir", "cache_size_bytes", "volume"}) == {
        "cache_dir": "/x",
        "cache_size_bytes": 1610612736,
        "volume": "v",
    }
    assert (seen[0].num_workers, seen[0].redis_url, seen[0].dispatch) == (3, "redis://h/1", "fleet")
    assert (seen[1].limit, seen[1].cache_dir) == (None, "/y")


def test_a_command_to_copy_has_the_same_settings_and_no_password() -> None:
    state = State(
        {"cache_dir": "/a b", "redis_url": "redis://:secret@h/0", "num_workers": 3, "cache_size": "1GB"}
    )
    assert state.command("job", "x", "--retry") == (
        "forebay job x --retry --cache-dir '/a b' --redis-url 'redis://:***@h/0' "
        "--num-workers 3 --cache-size 1GB"
    )
    assert state.environment() == {
        "FIFTYONE_MEDIA_CACHE_DIR": "/a b",
        "FIFTYONE_MEDIA_CACHE_REDIS_URL": "redis://:secret@h/0",
        "FIFTYONE_MEDIA_CACHE_NUM_WORKERS": "3",
        "FIFTYONE_MEDIA_CACHE_SIZE_BYTES": "1073741824",
    }


@pytest.mark.parametrize("module", [content_commands, job_commands, prefetch_commands])
def test_every_command_has_json_and_a_short_help(module: Any) -> None:
    app = typer.Typer()
    module.register(app)
    for command in app.registered_commands:
        assert command.callback is not None
        assert "json" in command.callback.__annotations__
        assert len((command.callback.__doc__ or "").splitlines()[0]) <= 110


def test_the_table_of_commands_says_what_they_say_of_themselves() -> None:
    commands: Any = typer.main.get_command(app)
    assert list(commands.commands) == list(COMMANDS)
    for name, listed in COMMANDS.items():
        assert commands.commands[name].name == name
        assert commands.commands[name].help.splitlines()[0] == listed.summary


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["prefetched"], {}),
        ([], {"_FOREBAY_COMPLETE": "complete_bash", "COMP_WORDS": "forebay pre", "COMP_CWORD": "1"}),
    ],
    ids=["help", "version", "a typo", "completion"],
)
def test_commands_are_listed_without_importing_one(arguments: list[str], environment: dict[str, str]) -> None:
    code = (
        "import atexit, sys\n"
        "def tell():\n"
        "    slow = {'forebay.cli.prefetch_commands', 'forebay.cli.content_commands'}\n"
        "    slow |= {'forebay.cache', 'redis'}\n"
        "    print(sorted(slow & set(sys.modules)))\n"
        "atexit.register(tell)\n"
        "from forebay.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    if environment:
        assert done.stdout.splitlines()[0] == "prefetch"


def test_the_help_of_a_command_needs_no_cache() -> None:
    code = (
        "import sys; import forebay.cli.prefetch_commands, forebay.cli.content_commands\n"
        "print(sorted({'pydantic', 'redis', 'celery', 'rich.progress', 'forebay.cache'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (9.94, "9.9 s"),
        (12, "12 s"),
        (95, "2 min"),
        (3600, "60 min"),
        (7200, "2 h"),
        (86400, "24 h"),
        (3 * 86400, "3 days"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_counts() -> None:
    assert [count(n, "entry") for n in (0, 1, 2000)] == ["0 entries", "1 entry", "2,000 entries"]
    assert count(1, "sample") == "1 sample"


def test_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    assert (ago(999.5), ago(880.0)) == ("just now", "2 min ago")
