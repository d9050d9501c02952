"""Finding the embedded server, or having it started."""

from __future__ import annotations

import logging
import os
import time
from urllib.parse import urlsplit

from forebay.embedded._control import is_unused, stop
from forebay.embedded._launch import REMEDY, start_supervisor
from forebay.embedded._owner import conflict, read_owner
from forebay.embedded._server_directory import ServerDirectory
from forebay.embedded._settings import LOG
from forebay.embedded._wire import ping
from forebay.errors import ConfigError, IndexUnavailableError

IDLE_SECONDS = 60.0
BRIEF_SECONDS = 1.0
IDLE_VARIABLE = "FOREBAY_EMBEDDED_IDLE_SECONDS"

logger = logging.getLogger(__name__)


def ensure_running(
    cache_dir: str,
    *,
    timeout_seconds: float = 10.0,
    idle_seconds: float | None = None,
    brief: bool = False,
) -> str:
    """The URL of the embedded server of ``cache_dir``; starts it when it does not run.

    It takes well under a millisecond when the server runs and about 0.1 s when it does not. The server
    stops when no client was connected for ``idle_seconds``, so a client whose connection breaks, or that
    cannot connect, must call this again and connect to the URL that it returns.

    Args:
        cache_dir: the volume's directory; created when it does not exist.
        timeout_seconds: how long to wait for the server's first answer.
        idle_seconds: how long a server that is started now stays without a client; by default
            ``FOREBAY_EMBEDDED_IDLE_SECONDS`` from the environment, or `IDLE_SECONDS`.
        brief: whether that is `BRIEF_SECONDS` instead of `IDLE_SECONDS`, for processes that leave none.

    Returns:
        ``unix://<path>?db=0``, for ``redis.Redis.from_url``. Celery wants `broker_url`.

    Raises:
        VolumeError: the directory cannot be used, or belongs to another index or another user, or its
            server runs on another machine.
        IndexUnavailableError: no server could be started, or it does not answer.
        ConfigError: ``FOREBAY_EMBEDDED_IDLE_SECONDS`` is not a number of seconds above 0.
    """
    deadline = time.monotonic() + timeout_seconds
    place = ServerDirectory(cache_dir)
    owner = read_owner(cache_dir)
    if owner is not None and owner.kind == "redis":
        raise conflict(cache_dir, owner)
    place.refuse_others()
    answer = ping(place.socket, timeout_seconds)
    if answer != "+PONG":
        place.prepare()
    while answer != "+PONG":
        result = start_supervisor(place, _idle_seconds(idle_seconds, brief), deadline)
        for moved in result.moved:
            logger.warning(
                "the embedded index of %s could not be loaded and was moved to %s; it starts empty and is "
                "rebuilt from the files of the volume",
                cache_dir,
                os.path.join(place.directory, moved),
            )
        answer = ping(place.socket, max(0.1, deadline - time.monotonic()))
        if answer != "+PONG" and time.monotonic() > deadline:
            reason = answer[1:] or result.trouble
            raise IndexUnavailableError(
                f"the embedded index of {cache_dir} does not answer within {timeout_seconds:g} s"
                f"{f' ({reason})' if reason else ''}: try again, see "
                f"{os.path.join(place.directory, LOG)}, or {REMEDY}"
            )
    return place.url


def broker_url(url: str) -> str:
    """Celery's URL for database 1 of the server whose ``url`` `ensure_running` returned."""
    return f"redis+socket://{urlsplit(url).path}?virtual_host=1"


def stop_unused(cache_dir: str, *, timeout_seconds: float = 10.0) -> bool:
    """Stops the embedded server of ``cache_dir``, if no client is connected; its data are kept.

    It is not stopped where ``FOREBAY_EMBEDDED_IDLE_SECONDS`` says how long it stays. A client that connects
    at the last moment has to call `ensure_running` again.

    Returns:
        Whether it was stopped. When this returns, its supervisor has ended too.

    Raises:
        IndexUnavailableError: it has not ended within ``timeout_seconds``.
    """
    if os.environ.get(IDLE_VARIABLE):
        return False
    return is_unused(cache_dir) and stop(cache_dir, timeout_seconds=timeout_seconds)


def _idle_seconds(idle_seconds: float | None, brief: bool) -> float:
    if idle_seconds is not None:
        return idle_seconds
    text = os.environ.get(IDLE_VARIABLE, "")
    try:
        value = float(text) if text else BRIEF_SECONDS if brief else IDLE_SECONDS
    except ValueError:
        value = -1.0
    if not value > 0:
        raise ConfigError(
            f"environment variable {IDLE_VARIABLE}={text!r} is not allowed: must be seconds above 0",
            setting=IDLE_VARIABLE,
        )
    return value
