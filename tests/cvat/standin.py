"""A stand-in for a CVAT server.

It keeps storages, projects, tasks and labels in memory, answers what FiftyOne and Forebay ask of CVAT 2.73,
and checks every request and every answer of its own against CVAT's OpenAPI document; not so the bodies of
errors, of which the document says next to nothing, and of forms the files that are uploaded. Media are
read from the real bucket, with the credentials of the cloud storage and by the rules of the manifest that
CVAT.md notes down: a wrong order, name or size shows in the task's frames, or fails the import.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

from tests.cvat.schema import Exchange
from tests.cvat.standin_http import CVATServer, Handler
from tests.cvat.standin_media import Imports
from tests.cvat.standin_state import KEY_FILE, PASSWORD, TOKEN, USER, RefusalError

__all__ = ["CVAT", "KEY_FILE", "PASSWORD", "TOKEN", "USER", "running_cvat"]


class CVAT(Imports):
    """A running stand-in."""

    def answer(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        """Answers a request."""
        with self._lock:
            self.asked.append(f"{exchange.method.upper()} {exchange.path}")
            if exchange.path != "/api/auth/login" and not self._knows(exchange.headers):
                return 401, {"detail": "Authentication credentials were not provided."}
            problem = exchange.problem()
            if problem is not None:
                self.problems.append(problem)
            try:
                for method, pattern, handler in self._routes():
                    match = re.fullmatch(pattern, exchange.path)
                    if match is not None and method == exchange.method:
                        return handler(*map(int, match.groups()), exchange=exchange, raw=raw)
                match = re.fullmatch(r"/api/requests/([\w-]+)(/cancel)?", exchange.path)
                if match is not None:
                    return self._cancel(match[1]) if match[2] else self._one_request(match[1])
            except RefusalError as refusal:
                return refusal.status, refusal.said
            return 404, {"detail": "Not found."}

    def _knows(self, headers: Any) -> bool:
        cookie = headers.get("Cookie") or ""
        return f"sessionid={TOKEN}" in cookie or headers.get("Authorization") == f"Bearer {TOKEN}"

    def _routes(self) -> list[tuple[str, str, Callable[..., tuple[int, Any]]]]:
        return [
            ("post", "/api/auth/login", self._login),
            ("get", "/api/server/about", self._about),
            ("get", "/api/cloudstorages", self._list_storages),
            ("post", "/api/cloudstorages", self._attach),
            ("get", r"/api/cloudstorages/(\d+)", self._one_storage),
            ("delete", r"/api/cloudstorages/(\d+)", self._delete_storage),
            ("get", r"/api/cloudstorages/(\d+)/status", self._status),
            ("get", "/api/projects", self._list_projects),
            ("post", "/api/projects", self._create_project),
            ("get", r"/api/projects/(\d+)", self._one_project),
            ("delete", r"/api/projects/(\d+)", self._delete_project),
            ("get", "/api/tasks", self._list_tasks),
            ("post", "/api/tasks", self._create_task),
            ("get", r"/api/tasks/(\d+)", self._one_task),
            ("delete", r"/api/tasks/(\d+)", self._delete_task),
            ("post", r"/api/tasks/(\d+)/data/?", self._attach_data),
            ("get", r"/api/tasks/(\d+)/data/meta", self._meta),
            ("put", r"/api/tasks/(\d+)/annotations/?", self._put_annotations),
            ("get", "/api/labels", self._list_labels),
            ("get", "/api/jobs", self._list_jobs),
            ("get", r"/api/jobs/(\d+)", self._one_job),
            ("patch", r"/api/jobs/(\d+)", self._patch_job),
            ("get", r"/api/jobs/(\d+)/annotations/?", self._job_annotations),
            ("get", "/api/users", self._list_users),
        ]

    def _login(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        given = json.loads(raw)
        if (given.get("username"), given.get("password")) != (USER, PASSWORD):
            return 400, {"non_field_errors": ["Unable to log in with provided credentials."]}
        return 200, {"key": TOKEN}

    def _about(self, **_: Any) -> tuple[int, Any]:
        about = {"name": "CVAT", "description": "", "logo_url": "", "subtitle": "", "version": "2.73.0"}
        return 200, about

    def _list_users(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        return 200, self._page(
            [{"id": 7, "username": USER, "url": f"{self.url}/api/users/7", "first_name": "", "last_name": ""}]
        )


@contextlib.contextmanager
def running_cvat(gcs_endpoint: str = "") -> Iterator[CVAT]:
    """Starts a stand-in on a free port.

    Raises:
        AssertionError: something was asked or answered that CVAT's document does not allow.
    """
    with CVATServer(("127.0.0.1", 0), Handler) as server:
        server.cvat = CVAT(gcs_endpoint)
        server.cvat.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.cvat
        finally:
            server.shutdown()
            thread.join()
    assert not server.cvat.problems, "\n".join(server.cvat.problems)
