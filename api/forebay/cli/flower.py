"""Flower on the fleet's broker: ``forebay flower``."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import socket
from typing import TYPE_CHECKING

from forebay.cli.output import say
from forebay.errors import ConfigError

if TYPE_CHECKING:
    from forebay.cli.shared_options import State

_PASSWORD = "FIFTYONE_MEDIA_CACHE_FLOWER_BASIC_AUTH"
# The columns answer: which result and why, which samples and job, which worker and when. A screen shows the
# first ones only: a reason is as long as it is.
_COLUMNS = "state,result,exception,args,retries,runtime,received,worker,kwargs,name,uuid"
# Workers that ended are shown for an hour; each one that is started anew has a new name.
_OFFLINE_SECONDS = 3600


def run(state: State, *, address: str, port: int, max_tasks: int, url_prefix: str | None) -> int:
    """Run Flower in this process until a signal ends it.

    Args:
        address: where it listens.
        max_tasks: how many tasks it keeps in memory, about 8 KB each; the oldest are forgotten first.
        url_prefix: the path under which a proxy shows it.

    Returns:
        the exit status.

    Raises:
        ConfigError: Flower is not installed, would be open to a network without a password, or cannot
            listen there.
    """
    # Imported here: Celery takes long to import, and --help does without.
    from forebay.jobs.celery_app import broker_url, celery_app, forget_environment

    if importlib.util.find_spec("flower") is None:
        raise ConfigError("Flower is not installed: pip install 'forebay[flower]'")
    config = state.config()
    if config.flower_basic_auth is None and not _only_here(address):
        raise ConfigError(
            f"Flower on {address} would let everybody there stop workers: set {_PASSWORD}=user:password",
            setting="flower_basic_auth",
        )
    index = ""
    if config.redis_url is None and config.broker_url is None:
        index = state.cache().engine.open_index().connection.url
    check_port(address, port)
    forget_environment()
    app = celery_app(config, broker_url(config, index))
    if config.flower_basic_auth is not None:
        # The arguments of a process are visible to every user of the machine.
        os.environ["FLOWER_BASIC_AUTH"] = config.flower_basic_auth
    options = [f"--address={address}", f"--port={port}", f"--max-tasks={max_tasks}", "--persistent=false"]
    options += [f"--tasks-columns={_COLUMNS}", f"--purge-offline-workers={_OFFLINE_SECONDS}"]
    options += [f"--logging={'info' if state.verbose else 'error'}"]
    if url_prefix:
        options.append(f"--url-prefix={url_prefix.strip('/')}")
    say(f"Flower  http://{address}:{port}; Ctrl-C ends it")
    return int(app.start(["--quiet", "flower", *options]) or 0)


def check_port(address: str, port: int) -> None:
    """Check that Flower can listen at an address: it prints the address before it tries.

    Raises:
        ConfigError: it cannot.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"Flower cannot be served at {address}:{port} ({reason}): choose another port"
        ) from None


def _only_here(address: str) -> bool:
    """Whether an address is a loopback address, which only this machine can reach."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
