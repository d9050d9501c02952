"""MongoDB, which FiftyOne keeps its datasets in: the server that its own packages bring along."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.process import free_ports, running


@contextlib.contextmanager
def mongodb() -> Iterator[str]:
    """Starts an empty server on a free port; gives its URI, without a database's name. Takes about 1 s.

    Raises:
        RuntimeError: the package of FiftyOne's database is not installed, or the server does not come up.
    """
    (port,) = free_ports()
    with tempfile.TemporaryDirectory(prefix="forebay-mongodb-") as directory:
        command = [str(_binary()), "--dbpath", directory, "--port", str(port), "--bind_ip", "127.0.0.1"]
        command += ["--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
        with running(command, log=Path(directory) / "log", ready=lambda: _listens(port)):
            yield f"mongodb://127.0.0.1:{port}"


def _binary() -> Path:
    # Found without an import, which would read the configuration of whoever runs the tests.
    package = importlib.util.find_spec("fiftyone")
    for folder in (package and package.submodule_search_locations) or []:
        binary = Path(folder, "db", "bin", "mongod")
        if binary.exists():
            return binary
    raise RuntimeError("no `mongod` found in FiftyOne's packages; run: make setup")


def _listens(port: int) -> bool:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    return True
