"""What a stand-in for CVAT keeps: its records, and what a test may change of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

USER, PASSWORD, TOKEN = "annotator", "annotator-password-42", "annotator-token-42"
# The key file of the one service account of Google's that may read.
KEY_FILE = b'{"type": "service_account", "client_email": "reader@example.com"}'
ANNOTATOR = {"id": 7, "username": USER}
NOW = "2026-01-01T00:00:00Z"


class PlainText(str):
    """An explanation that CVAT sends as it is, with the content type ``text/html``."""


class RefusalError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, said: Any) -> None:
        super().__init__(said)
        self.status, self.said = status, said


@dataclass
class Task:
    """One task, and all that hangs on it.

    Attributes:
        frames: as ``data/meta`` has them: of a video, there is one.
        size: how many frames there are to annotate.
    """

    id: int
    name: str
    body: dict[str, Any]
    labels: list[dict[str, Any]]
    frames: list[dict[str, Any]] = field(default_factory=list)
    size: int = 0
    data: dict[str, Any] | None = None
    annotations: dict[str, Any] = field(
        default_factory=lambda: {"version": 0, "shapes": [], "tags": [], "tracks": []}
    )
    assignee: int | None = None

    @property
    def job_id(self) -> int:
        """It has one job."""
        return 1000 + self.id


@dataclass
class Request:
    """A background request."""

    id: str
    task_id: int
    status: str = "queued"
    message: str = ""
    work: Callable[[], None] = lambda: None


class State:
    """What is kept in memory.

    Attributes:
        storages, tasks, projects, requests: by id.
        gcs_endpoint: where it finds Google's storage.
        azure_endpoint: where it finds the account of Azure.
        problems: what was not as CVAT's document has it; a test that uses the stand-in fails by it.
        meddle: changes the frames of a task before anybody sees them.
        stuck: imports begin and do not end, or not before ``refusals`` requests to remove their task.
        queued: imports do not even begin.
        refusals: how many requests to remove the task of a stuck import are refused, before it ends; ``None``
            if it never does.
        when_asked: called when somebody asks how far an import is.
        hiccups: how many questions about an import a proxy in front of it does not pass on.
        refuses_labels: annotations are not taken.
        status_after_attaching: what a new storage is then said to be, though it could be used a moment ago.
        keeps_storages: storages cannot be deleted.
        lost_frames: how many frames of a video are not found.
        uploaded: the names of files that were uploaded rather than loaded from a bucket.
        copies: the manifests that were downloaded, by storage and key, each with the time.
    """

    def __init__(self, gcs_endpoint: str = "") -> None:
        self.storages: dict[int, dict[str, Any]] = {}
        self.secrets: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, Task] = {}
        self.projects: dict[int, dict[str, Any]] = {}
        self.requests: dict[str, Request] = {}
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.uploaded: list[str] = []
        self.copies: dict[tuple[int, str], tuple[float, bytes]] = {}
        self.gcs_endpoint = gcs_endpoint
        self.azure_endpoint = ""
        self.meddle: Callable[[list[dict[str, Any]]], None] = lambda _: None
        self.stuck = False
        self.queued = False
        self.refusals: int | None = None
        self.when_asked: Callable[[], None] = lambda: None
        self.hiccups = 0
        self.refuses_labels = False
        self.status_after_attaching: str | None = None
        self.keeps_storages = False
        self.lost_frames = 0
        self.url = ""
        self._last_id = 0
        self._lock = threading.RLock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was left behind."""
        return not self.tasks and not self.projects

    def shapes(self) -> list[dict[str, Any]]:
        """Every shape of every task."""
        return [shape for task in self.tasks.values() for shape in task.annotations["shapes"]]

    def _page(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        return {"count": len(results), "next": None, "previous": None, "results": results}

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id
