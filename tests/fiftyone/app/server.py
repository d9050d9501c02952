"""FiftyOne's App: its server, as `fo.launch_app` starts it, with a cache of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from forebay.cache import MediaCache
from forebay.config import MediaCacheConfig, env_name
from tests.servers.process import free_ports, running


@dataclass(frozen=True)
class Reply:
    """The server's response to one request."""

    status: int
    headers: Message
    body: bytes


@dataclass
class AppServer:
    """A running server.

    Attributes:
        url: for instance ``http://127.0.0.1:5151``.
        cache: its cache, as seen from this process.
        log: what it has printed.
    """

    url: str
    cache: MediaCache
    log: Path
    environment: dict[str, str] = field(repr=False, default_factory=dict)

    def page(self, dataset: Any, sample: Any = None) -> str:
        """The address of a dataset's page, with a sample's modal open."""
        return f"{self.url}/datasets/{dataset.name}" + (f"?id={sample.id}" if sample is not None else "")

    def media_url(self, path: str) -> str:
        """The address from which the front end would load a path."""
        return f"{self.url}/media?filepath={urllib.parse.quote(path, safe='')}"

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """Requests a path from the media route; in the headers' names ``_`` stands for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.media_url(path), headers=named, method=method)
        opener = urllib.request.build_opener(_Still, urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                return Reply(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.headers, error.read())

    def cached(self) -> int:
        """The number of objects in its cache."""
        return int(self.cache.stats()["current_count"])


class _Still(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> None:
        """Shows a redirect instead of following it."""


def server_alone(port: int) -> list[str]:
    """The command for a server without a session."""
    # As FiftyOne starts it; imported, it would change this process.
    package = importlib.util.find_spec("fiftyone")
    assert package is not None and package.origin is not None
    main = Path(package.origin).parent / "server" / "main.py"
    return [sys.executable, str(main), "--port", str(port), "--address", "127.0.0.1"]


@contextlib.contextmanager
def app_server(
    environment: dict[str, str],
    directory: Path,
    command: Callable[[int], list[str]] = server_alone,
    **settings: Any,
) -> Iterator[AppServer]:
    """Starts a server on a free port; takes about 6 s.

    Args:
        environment: FiftyOne's variables and those of the clouds.
        directory: where the log goes.
        command: what starts the server on a port.
        settings: of the cache.
    """
    (port,) = free_ports()
    url = f"http://127.0.0.1:{port}"
    directory.mkdir(parents=True, exist_ok=True)
    variables = {env_name(name): _written(value) for name, value in settings.items()}

    def serves() -> bool:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"{url}/fiftyone", timeout=10
        ).close()
        return True

    cache = MediaCache(MediaCacheConfig(**settings))
    log = directory / "log"
    with running(command(port), log=log, ready=serves, environment=environment | variables, timeout=90.0):
        yield AppServer(url, cache, log, environment | variables)
    cache.close()


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)
