"""An HTTP server that answers as a test's function says: for faults that no real server has on order."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator


class Answer(http.server.BaseHTTPRequestHandler):
    """One request, and how it is answered."""

    protocol_version = "HTTP/1.1"

    @property
    def span(self) -> tuple[int, int] | None:
        """The range that is asked for: first byte, and the byte after the last."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        return (int(found[1]), int(found[2]) + 1) if found else None

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Sends a whole answer; underscores in the names of headers stand for hyphens."""
        self.begin(status, len(body), **headers)
        self.wfile.write(body)

    def send_range(self, whole: bytes, **headers: str) -> None:
        """Sends the range that is asked for, or the whole."""
        if self.span is None:
            self.send(200, whole, Accept_Ranges="bytes", **headers)
            return
        start, end = self.span
        place = f"bytes {start}-{end - 1}/{len(whole)}"
        self.send(206, whole[start:end], Content_Range=place, **headers)

    def begin(self, status: int, size: int, **headers: str) -> None:
        """Sends a head; the body is up to the caller."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *arguments: object) -> None:
        """A client that has hung up is no news."""


@contextlib.contextmanager
def scripted(get: Callable[[Answer], None]) -> Iterator[str]:
    """Answers each GET with a function until the block ends; gives the address, with a slash at its end."""
    server = _Server(("127.0.0.1", 0), type("Scripted", (Answer,), {"do_GET": get}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
