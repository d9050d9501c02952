"""Other names for schemes, which the settings of a server may give it: ``lab://`` for ``minio://``.

They are those of a process: whatever parses a URI knows them. An entry, and what workers are sent, has the
name that every process knows.
"""

from __future__ import annotations

import re
import threading

_NAME = re.compile(r"[a-z][a-z0-9+.-]{0,30}")

# Azure's names for the same store, with and without TLS.
_BUILT_IN = {"abfs": ("az", "Azure"), "abfss": ("az", "Azure")}

_lock = threading.Lock()
# By alias: the scheme, and where that was said.
_known: dict[str, tuple[str, str]] = dict(_BUILT_IN)


class AliasError(ValueError):
    """An alias that cannot be one; the text says why."""


def register(alias: str, scheme: str, origin: str) -> None:
    """Makes an alias known in this process.

    Args:
        alias: in lower case.
        scheme: what it stands for.
        origin: where it was said, for the error of a second one that says something else.

    Raises:
        AliasError: it is no name of a scheme, or stands for another one already.
    """
    if not _NAME.fullmatch(alias):
        raise AliasError(
            "must begin with a letter, and have at most 31 letters, digits, '+', '.' and '-'; "
            "'lab' stands for lab://"
        )
    with _lock:
        known, told = _known.setdefault(alias, (scheme, origin))
    if known != scheme:
        raise AliasError(f"stands for {known}:// already, by {told}; choose another one")


def canonical(scheme: str) -> str:
    """What a scheme in lower case stands for: itself, unless it is an alias."""
    known = _known.get(scheme)
    return known[0] if known is not None else scheme


def canonical_uri(uri: str) -> str:
    """A URI with its scheme in place of an alias; any other text as it is."""
    scheme, colon, rest = uri.partition("://")
    known = _known.get(scheme.lower())
    return f"{known[0]}{colon}{rest}" if known is not None and colon else uri


def aliases() -> tuple[str, ...]:
    """All aliases, with those that Azure has of its own."""
    return tuple(_known)


def forget() -> None:
    """Forgets all aliases that were registered, as a new process has none."""
    _known.clear()
    _known.update(_BUILT_IN)
