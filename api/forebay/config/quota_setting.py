"""A quota as it is given: a label, and how much of the volume counts for it."""

from __future__ import annotations

import re
from typing import Any

from forebay.config.kinds import Kind, NotAllowedError
from forebay.config.sizes import in_bytes

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EXPECTED = "expected a label and a size, as team-a=200GB"


def quota(value: Any) -> str:
    """A quota as text.

    Raises:
        NotAllowedError: it is none.
    """
    label, _, size = value.partition("=") if isinstance(value, str) else ("", "", "")
    number = in_bytes(size.strip()) if size.strip() else None
    if not _LABEL.fullmatch(label.strip()) or not isinstance(number, int) or number < 1:
        raise NotAllowedError(_EXPECTED)
    return f"{label.strip()}={size.strip()}"


def parsed(text: str) -> tuple[str, int] | None:
    """Label and bytes of a quota; ``None`` where there is none, or what was written cannot be read."""
    try:
        label, _, size = quota(text).partition("=")
    except NotAllowedError:
        return None
    number = in_bytes(size)
    return (label, number) if isinstance(number, int) else None


QUOTA = Kind("a label and a size", quota)
