"""Compose on this repository's ``compose.yaml``, with an ``.env`` of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import compose  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).resolve().parents[2]
# The command of the PyPI package loses the exit status of the program that it brings.
COMPOSE = str(Path(compose.__file__).with_name("docker-compose"))


@dataclass
class Compose:
    """Runs ``docker compose``.

    Attributes:
        env_file: takes the place of ``.env``.
        environment: what else its environment has, such as ``DOCKER_HOST``.
    """

    env_file: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(
        self, *arguments: str, check: bool = True, timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command to its end; what it says is in ``stdout`` and ``stderr``."""
        done = subprocess.run(
            [COMPOSE, *arguments],
            check=False,
            cwd=REPOSITORY,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            raise AssertionError(f"docker compose {' '.join(arguments)}\n{done.stdout}\n{done.stderr}")
        return done

    def variables(self) -> dict[str, str]:
        """The environment of its commands: settings come from the ``.env`` only."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return kept | {"COMPOSE_ENV_FILES": str(self.env_file)} | self.environment

    def config(self, *profiles: str) -> dict[str, Any]:
        """What it makes of ``compose.yaml``, with all variables filled in."""
        options = [word for profile in profiles for word in ("--profile", profile)]
        found: dict[str, Any] = json.loads(self(*options, "config", "--format", "json").stdout)
        return found


def new_env(file: Path, *, demo: bool = False, **settings: str) -> Path:
    """Makes an ``.env`` as the documentation says: from the example, with new passwords.

    Args:
        demo: also the key pair of the demo's S3 server.
        settings: further lines.
    """
    secrets = [str(REPOSITORY / "docker" / "secrets"), *(["--demo"] if demo else [])]
    passwords = subprocess.run(secrets, check=True, capture_output=True, text=True).stdout
    more = "".join(f"{name}={value}\n" for name, value in settings.items())
    file.write_text((REPOSITORY / ".env.example").read_text() + passwords + more)
    return file


def values_of(file: Path) -> dict[str, str]:
    """What an ``.env`` sets."""
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)
