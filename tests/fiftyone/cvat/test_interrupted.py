"""Imports that are given up: CVAT goes on with them, and until they end it does not remove their tasks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from forebay.cvat import CvatError, CvatServer, undoing
from tests.cvat.standin import CVAT
from tests.fiftyone.cvat.conftest import InCloud


@pytest.fixture
def ctrl_c(cvat: CVAT) -> Iterator[None]:
    """When somebody asks for the second time how far an import is, the user presses Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    asked: list[None] = []

    def press() -> None:
        asked.append(None)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    cvat.when_asked, cvat.stuck = press, True
    yield
    signal.signal(signal.SIGINT, before)


def annotate(in_s3: InCloud, **arguments: Any) -> None:
    in_s3.dataset.annotate("run", label_field="boxes", cloud_manifest=True, **arguments)


def deletes(cvat: CVAT) -> int:
    return sum(asked.startswith("DELETE /api/tasks/") for asked in cvat.asked)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_nothing_behind(in_s3: InCloud, cvat: CVAT) -> None:
    """Given a CVAT that answers 409 and 500 four times, then the task is removed when it can be."""
    cvat.refusals = 4

    with pytest.raises(KeyboardInterrupt):
        annotate(in_s3)

    assert cvat.is_empty
    assert deletes(cvat) == 5
    assert in_s3.dataset.list_annotation_runs() == []


def test_an_import_that_ends_after_the_time_limit(in_s3: InCloud, cvat: CVAT) -> None:
    cvat.stuck, cvat.refusals = True, 3
    with pytest.raises(CvatError) as raised:
        annotate(in_s3, cloud_timeout=0.3, project_name="ours")
    assert str(raised.value).endswith(
        "is not done after 0.3 s (started, 50 %): are CVAT's import workers running? cloud_timeout= waits "
        "longer"
    )
    assert cvat.is_empty


def test_an_import_that_does_not_end(in_s3: InCloud, cvat: CVAT, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a CVAT that refuses for longer than we wait, then the error names the task, and its project."""
    monkeypatch.setattr(undoing, "WAIT_SECONDS", 0.3)
    cvat.stuck = True

    with pytest.raises(CvatError) as raised:
        annotate(in_s3, cloud_timeout=0.3, project_name="ours")

    (task,), (project,) = cvat.tasks, cvat.projects
    busy = "(This resource is currently busy with another operation)"
    assert str(raised.value) == (
        f"CVAT's import of the media of task {task} is not done after 0.3 s (started, 50 %): are CVAT's "
        f"import workers running? cloud_timeout= waits longer. Left in CVAT: task {task}, "
        f"{cvat.url}/tasks/{task} {busy}; project {project}, {cvat.url}/projects/{project} {busy}. "
        f"Delete them there, when the "
        f"import has ended"
    )
    assert in_s3.dataset.list_annotation_runs() == []


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_names_what_is_left(in_s3: InCloud, cvat: CVAT, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undoing, "WAIT_SECONDS", 0.3)
    with pytest.raises(KeyboardInterrupt) as raised:
        annotate(in_s3)
    (task,) = cvat.tasks
    assert f"Left in CVAT: task {task}, {cvat.url}/tasks/{task} " in str(raised.value)
    assert in_s3.dataset.list_annotation_runs() == []


def test_a_second_ctrl_c_ends_the_wait(in_s3: InCloud, cvat: CVAT, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given two tasks, one of which CVAT still imports, then both are named as left."""
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", "annotator-token-42")
    server = CvatServer.connect(cvat.url)
    tasks = [server.post("/api/tasks", {"name": "t", "labels": []})["id"] for _ in range(2)]
    body = {"server_files": ["m.jpg"], "cloud_storage_id": in_s3.storage_id, "image_quality": 75}
    request = server.post(f"/api/tasks/{tasks[0]}/data/", body)["rq_id"]
    server.get(f"/api/requests/{request}")
    told: list[str] = []

    def press(text: str) -> None:
        told.append(text)
        raise KeyboardInterrupt

    left = undoing.remove_all(server, [("tasks", each) for each in tasks], wait_seconds=60, tell=press)

    assert told == [
        f"CVAT cannot cancel an import that it has started: waiting up to 60 s until task {tasks[0]}, "
        f"{cvat.url}/tasks/{tasks[0]} can be removed; Ctrl-C leaves it there"
    ]
    assert left == (
        f"Left in CVAT: task {tasks[0]}, {cvat.url}/tasks/{tasks[0]}; task {tasks[1]}, "
        f"{cvat.url}/tasks/{tasks[1]}. Delete them there, when the import has ended"
    )


def test_an_import_that_has_not_begun_is_cancelled(in_s3: InCloud, cvat: CVAT) -> None:
    """Given no import worker, when the time is over, then CVAT has nothing left to do."""
    cvat.queued = True
    with pytest.raises(CvatError, match=r"\(queued, 0 %\)"):
        annotate(in_s3, cloud_timeout=0.3)
    assert cvat.is_empty
    assert cvat.requests == {}
