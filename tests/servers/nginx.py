"""nginx serving a directory: the fastest source there is, for measuring."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.process import free_ports, running

_CONFIGURATION = """
daemon off;
user {user};
worker_processes 1;
error_log stderr error;
pid {scratch}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types {{ }}
    default_type application/octet-stream;
    {temporary_paths}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location = /.ready {{ return 204; }}
        location / {{ root "{root}"; }}
    }}
}}
"""


def temporary_paths(scratch: Path) -> str:
    """The directives for temporary files: nginx's own directories for them need root."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {scratch}/{kind};" for kind in kinds)


def find() -> str | None:
    """The path of nginx, if it is installed."""
    return shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin") or shutil.which("nginx")


@contextlib.contextmanager
def nginx(root: Path) -> Iterator[str]:
    """Serves the files below ``root``; gives ``http://127.0.0.1:port``.

    To an S3 client that addresses buckets by path, the directories in ``root`` are public buckets
    that can be read but not listed.

    Raises:
        RuntimeError: nginx is not installed.
    """
    binary = find()
    if binary is None:
        raise RuntimeError("no `nginx` found; install the nginx package of your system")
    (port,) = free_ports()
    with tempfile.TemporaryDirectory(prefix="forebay-nginx-") as directory:
        scratch = Path(directory)
        configuration = scratch / "nginx.conf"
        # Its workers read as whoever runs this, also where that is root.
        configuration.write_text(
            _CONFIGURATION.format(
                scratch=scratch,
                temporary_paths=temporary_paths(scratch),
                port=port,
                root=root.resolve(),
                user=getpass.getuser(),
            )
        )

        def serves() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/.ready")
            return connection.getresponse().status == 204

        command = [binary, "-c", str(configuration), "-p", directory, "-e", "stderr"]
        with running(command, log=scratch / "log", ready=serves):
            yield f"http://127.0.0.1:{port}"
