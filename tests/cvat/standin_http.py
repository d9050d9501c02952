"""The HTTP server of a stand-in for CVAT."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from tests.cvat.schema import Exchange
from tests.cvat.standin_forms import read_form
from tests.cvat.standin_state import TOKEN, PlainText


class Answers(Protocol):
    """Whoever answers the requests."""

    problems: list[str]

    def answer(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]: ...


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: CVATServer

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        content_type = self.headers.get("Content-Type") or ""
        # openapi-core reads no files out of forms. What FiftyOne uploads is checked by what handles it.
        is_form = content_type.startswith("multipart/")
        exchange = Exchange(
            self.command.lower(),
            parts.path,
            dict(parse_qsl(parts.query)),
            dict(self.headers.items()),
            None if is_form or not raw else raw,
            content_type,
        )
        if is_form and parts.path == "/api/cloudstorages":
            fields = {
                name: value.decode() if isinstance(value, bytes) else value
                for name, value in read_form(raw, content_type).items()
            }
            exchange.checked_body = json.dumps(fields).encode()
        status, answer = self.server.cvat.answer(exchange, raw)
        is_plain = isinstance(answer, PlainText)
        body = b"" if answer is None else (answer if is_plain else json.dumps(answer)).encode()
        exchange.status, exchange.answer = status, body
        if status < 300:
            problem = exchange.problem_of_answer()
            if problem is not None:
                self.server.cvat.problems.append(f"answer to {problem}")
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if is_plain else "application/vnd.cvat+json")
        self.send_header("Content-Length", str(len(body)))
        if parts.path == "/api/auth/login" and status == 200:
            self.send_header("Set-Cookie", f"sessionid={TOKEN}; Path=/")
            self.send_header("Set-Cookie", "csrftoken=csrf-42; Path=/")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


class CVATServer(ThreadingHTTPServer):
    daemon_threads = True
    cvat: Answers
