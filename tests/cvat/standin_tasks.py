"""The projects, tasks, jobs and labels of a stand-in for CVAT."""

from __future__ import annotations

import json
from typing import Any

from tests.cvat.schema import Exchange
from tests.cvat.standin_state import ANNOTATOR, NOW, PlainText, RefusalError, State, Task


class Tasks(State):
    """Everything but their media."""

    def _list_projects(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        return 200, self._page(list(self.projects.values()))

    def _create_project(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        number, body = self._next_id(), json.loads(raw)
        self.projects[number] = {
            "id": number,
            "name": body["name"],
            "url": f"{self.url}/api/projects/{number}",
            "tasks": {"count": 0, "url": f"{self.url}/api/tasks?project_id={number}"},
            "labels": {"url": f"{self.url}/api/labels?project_id={number}"},
            "_labels": self._labels(body.get("labels", [])),
        }
        return 201, self._one_project(number)[1]

    def _one_project(self, number: int, **_: Any) -> tuple[int, Any]:
        if number not in self.projects:
            raise RefusalError(404, {"detail": "Not found."})
        return 200, {name: value for name, value in self.projects[number].items() if name[0] != "_"}

    def _delete_project(self, number: int, **_: Any) -> tuple[int, Any]:
        for task in list(self.tasks.values()):
            if task.body.get("project_id") == number:
                self._delete_task(task.id)
        del self.projects[number]
        return 204, None

    def _list_tasks(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        return 200, self._page([self._shown(task) for task in self.tasks.values()])

    def _create_task(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        body = json.loads(raw)
        number, project = self._next_id(), body.get("project_id")
        labels = self.projects[project]["_labels"] if project else self._labels(body["labels"])
        self.tasks[number] = Task(number, body["name"], body, labels)
        return 201, self._shown(self.tasks[number])

    def _labels(self, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                "id": self._next_id(),
                "name": label["name"],
                "attributes": [{"id": self._next_id(), **spec} for spec in label.get("attributes", [])],
                "sublabels": [],
                "type": "any",
                "color": "#ff0000",
            }
            for label in given
        ]

    def _task(self, number: int) -> Task:
        if number not in self.tasks:
            raise RefusalError(404, {"detail": "Not found."})
        return self.tasks[number]

    def _one_task(self, number: int, **_: Any) -> tuple[int, Any]:
        return 200, self._shown(self._task(number))

    def _delete_task(self, number: int, **_: Any) -> tuple[int, Any]:
        task = self._task(number)
        self._check_idle(task)
        del self.tasks[task.id]
        return 204, None

    def _check_idle(self, task: Task) -> None:
        """CVAT locks a task while its media are imported."""
        for request in self.requests.values():
            if request.task_id != task.id or request.status != "started":
                continue
            if self.refusals == 0:
                request.status = "finished"
                continue
            if self.refusals is None or self.refusals % 2:
                busy = "This resource is currently busy with another operation"
                self._count_refusal()
                raise RefusalError(409, {"detail": busy})
            self._count_refusal()
            raise RefusalError(500, PlainText("<!doctype html><title>Server Error (500)</title>"))

    def _count_refusal(self) -> None:
        if self.refusals is not None:
            self.refusals -= 1

    def _shown(self, task: Task) -> dict[str, Any]:
        jobs = {"count": 1, "completed": 0, "validation": 0, "url": f"{self.url}/api/jobs?task_id={task.id}"}
        return {
            "id": task.id,
            "name": task.name,
            "url": f"{self.url}/api/tasks/{task.id}",
            "status": "annotation",
            "size": task.size,
            "assignee": ANNOTATOR,
            "project_id": task.body.get("project_id"),
            "updated_date": NOW,
            "jobs": jobs,
            "labels": {"url": f"{self.url}/api/labels?task_id={task.id}"},
        }

    def _list_labels(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        if "project_id" in exchange.query:
            return 200, self._page(self.projects[int(exchange.query["project_id"])]["_labels"])
        return 200, self._page(self._task(int(exchange.query["task_id"])).labels)

    def _list_jobs(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        task = self._task(int(exchange.query["task_id"]))
        return 200, self._page([self._job(task)] if task.frames else [])

    def _one_job(self, number: int, **_: Any) -> tuple[int, Any]:
        return 200, self._job(self._task(number - 1000))

    def _patch_job(self, number: int, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        task = self._task(number - 1000)
        task.assignee = json.loads(raw)["assignee"]
        return 200, self._job(task)

    def _job(self, task: Task) -> dict[str, Any]:
        return {
            "id": task.job_id,
            "task_id": task.id,
            "status": "annotation",
            "assignee": ANNOTATOR,
            "issues": {"count": 0, "url": f"{self.url}/api/issues?job_id={task.job_id}"},
            "labels": {"url": f"{self.url}/api/labels?job_id={task.job_id}"},
        }

    def _put_annotations(self, number: int, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        task, given = self._task(number), json.loads(raw)
        if self.refuses_labels:
            raise RefusalError(400, {"detail": "no labels today"})
        for kind in ("shapes", "tags", "tracks"):
            for each in given[kind]:
                each["id"] = self._next_id()
                if each["frame"] >= task.size:
                    raise RefusalError(400, {"detail": f"no frame {each['frame']}"})
        task.annotations = given
        return 200, given

    def _job_annotations(self, number: int, **_: Any) -> tuple[int, Any]:
        return 200, self._task(number - 1000).annotations
