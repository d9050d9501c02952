"""The real ``forebay`` command, as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from forebay.config import env_name
from tests.servers.valkey import Valkey

COMMAND = str(Path(sys.executable).with_name("forebay"))


@dataclass
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document on stdout; nothing else may be there."""
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def error_lines(self) -> list[str]:
        return self.err.splitlines()


@dataclass
class Forebay:
    """Runs the command with settings in its environment.

    Attributes:
        settings: by the names of `MediaCacheConfig`.
    """

    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *arguments: str, input: str | None = None, **settings: Any) -> Done:
        """Runs a command to its end."""
        done = subprocess.run(
            [COMMAND, *arguments],
            check=False,
            # Bytes, because a user's lines may be anything.
            input=None if input is None else input.encode(),
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            env=self.environment(**settings),
            timeout=120,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextlib.contextmanager
    def started(self, *arguments: str, **settings: Any) -> Iterator[subprocess.Popen[str]]:
        """A command that runs meanwhile; killed at the end, if it still does."""
        process = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(**settings),
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def environment(self, **settings: Any) -> dict[str, str]:
        """The environment of a command; a setting that is ``None`` is not in it."""
        chosen = {name: value for name, value in (self.settings | settings).items() if value is not None}
        return os.environ | {
            env_name(name): value if isinstance(value, str) else json.dumps(value)
            for name, value in chosen.items()
        }


def ended(process: subprocess.Popen[str], *, timeout: float = 60.0) -> Done:
    """Waits for a started command."""
    out, err = process.communicate(timeout=timeout)
    return Done(process.returncode, out, err)


@pytest.fixture
def forebay(tmp_path: Path, valkey: Valkey) -> Forebay:
    """The command, on the same volume as the caches of `make_cache`; local dispatch."""
    return Forebay(
        {
            "cache_dir": str(tmp_path / "cache"),
            "redis_url": valkey.url,
            "dispatch": "local",
            "num_workers": 4,
            "grace_seconds": 0.0,
            "min_free_bytes": 0,
            "allowed_sources": "s3://,gs://,http://127.0.0.1/",
        }
    )
