"""nginx as an object store that can do one thing, fast: objects and listings, path-style, as S3 and GCS.

Objects have their MD5 as ETag, as they do on S3, and buckets can be listed: without either, rclone asks
for the headers of every object before it fetches it. As nginx cannot check an ``If-Match`` against such
an ETag, ranges of large objects need those that it makes itself: the bucket ``own-etags`` has them.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import Corpus
from bench.server.certificates import make_certificates
from bench.server.configuration import Listener, configuration, lua_modules, sleeping
from tests.servers.process import free_ports, running
from tests.servers.proxy import Fault, Proxy

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
OWN_ETAGS = "own-etags"
LATE_SECONDS = 0.03


@dataclass(frozen=True)
class Endpoint:
    """One address of the server.

    Attributes:
        url: without a slash at its end.
        bundle: the file with the authority that a client has to trust.
    """

    url: str
    bundle: Path | None = None


@dataclass(frozen=True)
class Site:
    """A running server.

    Attributes:
        endpoints: by what they do: ``plain``, ``tls``, ``late``, ``late-tls``.
        lateness: what makes the late ones late.
    """

    endpoints: dict[str, Endpoint]
    lateness: str


@contextlib.contextmanager
def serving(
    root: Path, scratch: Path, *corpora: Corpus, late_seconds: float = LATE_SECONDS
) -> Iterator[Site]:
    """Serves the buckets below ``root``.

    Raises:
        RuntimeError: nginx is not installed, or does not come up.
    """
    from bench.server.listings import write_maps

    scratch.mkdir()
    bundle = make_certificates(scratch)
    write_maps(scratch, corpora)
    names = ("plain", "tls", "late", "late-tls")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    with contextlib.ExitStack() as stack:
        lua, late = lua_modules(), {"directives": sleeping(late_seconds)}
        if not lua:
            proxy = stack.enter_context(Proxy(("127.0.0.1", ports["plain"])))
            proxy.fault(None, Fault(delay=late_seconds), method=None)
            late = {"upstream": f"{proxy.host}:{proxy.port}"}
        listeners = {
            name: Listener(port, name.endswith("tls"), **(late if name.startswith("late") else {}))
            for name, port in ports.items()
        }
        text = configuration(root, scratch, listeners, modules=lua)
        stack.enter_context(nginx(text, scratch, ports["plain"]))
        endpoints = {
            name: Endpoint(f"https://127.0.0.1:{port}", bundle)
            if name.endswith("tls")
            else Endpoint(f"http://127.0.0.1:{port}")
            for name, port in ports.items()
        }
        yield Site(endpoints, "nginx's Lua module" if lua else "a proxy in Python")


@contextlib.contextmanager
def nginx(text: str, scratch: Path, port: int) -> Iterator[int]:
    """Runs nginx with a configuration; gives the id of its process, which `reload` takes."""
    binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin") or shutil.which(
        "nginx"
    )
    if binary is None:
        raise RuntimeError("no `nginx` found; install the nginx package of your system")
    (scratch / "nginx.conf").write_text(text)

    def serves() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/.ready")
        return connection.getresponse().status == 204

    command = [binary, "-c", str(scratch / "nginx.conf"), "-p", str(scratch), "-e", "stderr"]
    with running(command, log=scratch / "log", ready=serves) as process:
        yield process.pid


def reload(process: int, text: str, scratch: Path) -> None:
    """Has a running nginx take another configuration; connections end with the request under way."""
    (scratch / "nginx.conf").write_text(text)
    os.kill(process, signal.SIGHUP)
