"""Why a sample failed, for a warning."""

from __future__ import annotations

from forebay.errors import ForebayError


def reason(error: Exception) -> str:
    """A sentence of Forebay; of any other error, also the type: the text of a ``KeyError`` is only a key."""
    return str(error) if isinstance(error, ForebayError) else repr(error)
