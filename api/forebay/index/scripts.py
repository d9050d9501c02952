"""The Lua scripts: each lies in a file of its own, whose header names its keys, arguments and result."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

_PREAMBLE = re.compile(r"^-- Preamble: (\w+)$", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of a script, behind the preamble that its header asks for."""
    text = Path(__file__).with_name(f"{name}.lua").read_text()
    wanted = _PREAMBLE.search(text)
    return text if wanted is None else source(wanted.group(1)) + text


@cache
def digest(name: str) -> str:
    """The digest under which Redis keeps a script."""
    return hashlib.sha1(source(name).encode()).hexdigest()
