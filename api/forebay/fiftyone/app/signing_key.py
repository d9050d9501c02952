"""The key with which the App's servers sign links."""

from __future__ import annotations

import contextlib
import os
import secrets
from functools import cache
from pathlib import Path

from forebay.cache import MediaCache
from forebay.fiftyone.adapter_log import log

_BYTES = 32


@cache
def signing_key(media_cache: MediaCache) -> bytes:
    """The key of the servers on one volume; the first server creates it.

    It is a file on the volume that only its owner can read, so that servers behind one address accept each
    other's links, and links stay valid after a restart. A server that cannot use the file has a key of
    its own, in memory.
    """
    file = Path(media_cache.engine.files.layout().private_dir, "app.key")
    try:
        return _shared(file)
    except OSError as error:
        log.warning(
            "App links work only with this server, and only until it stops: %s cannot be used (%s)",
            file,
            error.strerror,
        )
        return secrets.token_bytes(_BYTES)


def _shared(file: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return _read(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    made = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as new:
            new.write(secrets.token_bytes(_BYTES))
        # A link, not a rename, which would replace the key of a server that was quicker.
        with contextlib.suppress(FileExistsError):
            os.link(made, file)
    finally:
        made.unlink()
    return _read(file)


def _read(file: Path) -> bytes:
    found = os.stat(file)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(1, "others than its owner can read or change it")
    return file.read_bytes()
