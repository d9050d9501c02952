"""The Lua scripts. Each lies in a file of its own, whose header names its keys, arguments and result."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path


@cache
def source(name: str) -> str:
    """The text of a script."""
    return (Path(__file__).with_name(f"{name}.lua")).read_text()


@cache
def digest(name: str) -> str:
    """The digest under which Redis keeps a script."""
    return hashlib.sha1(source(name).encode()).hexdigest()
