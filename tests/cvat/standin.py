"""A stand-in for a CVAT server.

It keeps storages, projects, tasks and labels in memory, answers what FiftyOne and Forebay ask of CVAT 2.73,
and checks every request and every answer of its own against CVAT's OpenAPI document; not so the bodies of
errors, of which the document says next to nothing, and of forms the files that are uploaded. Media are
read from the real bucket, with the credentials of the cloud storage and by the rules of the manifest that
CVAT.md notes down: a wrong order, name or size shows in the task's frames, or fails the import.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from posixpath import dirname
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import boto3
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from tests.cvat.schema import Exchange

USER, PASSWORD, TOKEN = "annotator", "annotator-password-42", "annotator-token-42"
# The key file of the one service account of Google's that may read.
KEY_FILE = b'{"type": "service_account", "client_email": "reader@example.com"}'
_ANNOTATOR = {"id": 7, "username": USER}
_NOW = "2026-01-01T00:00:00Z"
_ORIENTATION = 0x0112


class RefusalError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, said: Any) -> None:
        super().__init__(said)
        self.status, self.said = status, said


@dataclass
class Task:
    """One task, and all that hangs on it."""

    id: int
    name: str
    body: dict[str, Any]
    labels: list[dict[str, Any]]
    frames: list[dict[str, Any]] = field(default_factory=list)
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


class CVAT:
    """A running stand-in.

    Attributes:
        storages, tasks, projects, requests: by id.
        gcs_endpoint: where it finds Google's storage.
        problems: what was not as CVAT's document has it; a test that uses the stand-in fails by it.
        meddle: changes the frames of a task before anybody sees them.
        stuck: imports begin and do not end.
        hiccups: how many questions about an import a proxy in front of it does not pass on.
        refuses_labels: annotations are not taken.
        status_after_attaching: what a new storage is then said to be, though it could be used a moment ago.
        uploaded: the names of files that were uploaded rather than loaded from a bucket.
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
        self.gcs_endpoint = gcs_endpoint
        self.meddle: Callable[[list[dict[str, Any]]], None] = lambda _: None
        self.stuck = False
        self.hiccups = 0
        self.refuses_labels = False
        self.status_after_attaching: str | None = None
        self.url = ""
        self._last_id = 0
        self._lock = threading.RLock()

    def add_storage(self, **fields: Any) -> int:
        """A storage that was there before."""
        answer = self._create_storage({"display_name": fields["resource"], **fields}, check=False)
        return int(answer["id"])

    @property
    def is_empty(self) -> bool:
        """Whether nothing was left behind."""
        return not self.tasks and not self.projects

    def shapes(self) -> list[dict[str, Any]]:
        """Every shape of every task."""
        return [shape for task in self.tasks.values() for shape in task.annotations["shapes"]]

    # Requests

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
                match = re.fullmatch(r"/api/requests/([\w-]+)", exchange.path)
                if match is not None:
                    return self._request(match[1])
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

    # Cloud storages

    def _list_storages(self, exchange: Exchange, **_: Any) -> tuple[int, Any]:
        wanted = {
            name: exchange.query[name] for name in ("resource", "provider_type") if name in exchange.query
        }
        found = [each for each in self.storages.values() if wanted.items() <= each.items()]
        size, page = 2, int(exchange.query.get("page", 1))
        more = f"{self.url}/api/cloudstorages?page={page + 1}" if len(found) > page * size else None
        return 200, {**self._page(found[(page - 1) * size : page * size]), "count": len(found), "next": more}

    def _attach(self, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        if exchange.content_type.startswith("multipart/"):
            body = _form(raw, exchange.content_type)
        else:
            body = json.loads(raw)
        return 201, self._create_storage(body)

    def _create_storage(self, body: dict[str, Any], *, check: bool = True) -> dict[str, Any]:
        secret = {name: body.pop(name, None) for name in ("key", "secret_key", "key_file")}
        body.setdefault("specific_attributes", "")
        body.setdefault("manifests", [])
        body.setdefault("credentials_type", "KEY_SECRET_KEY_PAIR")
        number = self._next_id()
        answer = {
            "id": number,
            **body,
            "description": "",
            "organization": None,
            "owner": _ANNOTATOR,
            "created_date": _NOW,
            "updated_date": _NOW,
        }
        self.storages[number], self.secrets[number] = answer, secret
        if check and self._bucket(number).status() != "AVAILABLE":
            del self.storages[number], self.secrets[number]
            raise RefusalError(
                400, {"resource": [f"The resource {body['resource']} not found. It may have been deleted."]}
            )
        return answer

    def _one_storage(self, number: int, **_: Any) -> tuple[int, Any]:
        if number not in self.storages:
            raise RefusalError(404, {"detail": "Not found."})
        if self.storages[number]["owner"]["id"] != 7:
            raise RefusalError(403, {"detail": "You do not have permission to perform this action."})
        return 200, self.storages[number]

    def _delete_storage(self, number: int, **_: Any) -> tuple[int, Any]:
        del self.storages[number]
        return 204, None

    def _status(self, number: int, **_: Any) -> tuple[int, Any]:
        return 200, self.status_after_attaching or self._bucket(number).status()

    def _bucket(self, number: int) -> _S3Bucket | _GCSBucket:
        storage, secret = self.storages[number], self.secrets[number]
        if storage["provider_type"] == "GOOGLE_CLOUD_STORAGE":
            is_known = storage["credentials_type"] == "ANONYMOUS_ACCESS" or secret["key_file"] == KEY_FILE
            return _GCSBucket(self.gcs_endpoint, storage["resource"], is_known)
        attributes = dict(parse_qsl(storage["specific_attributes"]))
        return _S3Bucket(storage["resource"], attributes, secret["key"], secret["secret_key"])

    # Projects, tasks, jobs, labels

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
        del self.tasks[self._task(number).id]
        return 204, None

    def _shown(self, task: Task) -> dict[str, Any]:
        jobs = {"count": 1, "completed": 0, "validation": 0, "url": f"{self.url}/api/jobs?task_id={task.id}"}
        return {
            "id": task.id,
            "name": task.name,
            "url": f"{self.url}/api/tasks/{task.id}",
            "status": "annotation",
            "size": len(task.frames),
            "assignee": _ANNOTATOR,
            "project_id": task.body.get("project_id"),
            "updated_date": _NOW,
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
            "assignee": _ANNOTATOR,
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
                if each["frame"] >= len(task.frames):
                    raise RefusalError(400, {"detail": f"no frame {each['frame']}"})
        task.annotations = given
        return 200, given

    def _job_annotations(self, number: int, **_: Any) -> tuple[int, Any]:
        return 200, self._task(number - 1000).annotations

    # Media

    def _meta(self, number: int, **_: Any) -> tuple[int, Any]:
        task = self._task(number)
        return 200, {
            "chunks_updated_date": _NOW,
            "deleted_frames": [],
            "frames": task.frames,
            "size": len(task.frames),
            "start_frame": 0,
            "stop_frame": max(0, len(task.frames) - 1),
            "frame_filter": "",
            "image_quality": 75,
        }

    def _attach_data(self, number: int, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        task = self._task(number)
        if task.data is not None:
            raise RefusalError(400, ["Adding data is not supported for tasks already containing data"])
        if exchange.content_type.startswith("multipart/"):
            task.data = {"client_files": _files(raw, exchange.content_type)}
            self.uploaded += [name for name, _ in task.data["client_files"]]
        else:
            task.data = json.loads(raw)
            if task.data.get("image_quality") is None:
                raise RefusalError(400, {"image_quality": ["This field is required."]})
            for name in task.data["server_files"]:
                if name.startswith("/") or "://" in name:
                    raise RefusalError(400, {"server_files": [f"{name} is not a relative path"]})
        request = Request(
            f"action=create&target=task&id={number}-{uuid.uuid4().hex}".replace("&", "-"), number
        )
        request.id = re.sub(r"[^\w-]", "-", request.id)
        request.work = lambda: self._import(task)
        self.requests[request.id] = request
        if "client_files" in task.data:
            # FiftyOne's own upload looks for jobs, and never at the request.
            self._import(task)
            request.status = "finished"
        return 202, {"rq_id": request.id}

    def _request(self, number: str) -> tuple[int, Any]:
        if self.hiccups:
            self.hiccups -= 1
            raise RefusalError(502, "Bad Gateway")
        request = self.requests[number]
        if request.status == "started" and not self.stuck:
            try:
                request.work()
                request.status = "finished"
            except Exception as error:
                request.status = "failed"
                request.message = (
                    f"Traceback (most recent call last):\n  …\n{type(error).__name__}: {error}\n"
                )
        elif request.status == "queued":
            request.status = "started"
        return 200, {
            "id": request.id,
            "status": request.status,
            "message": request.message,
            "progress": {"finished": 1.0, "started": 0.5}.get(request.status),
            "created_date": _NOW,
            "operation": {"type": "create:task", "target": "task", "task_id": request.task_id},
        }

    def _import(self, task: Task) -> None:
        """Imports the media of a task, as CVAT's worker does."""
        data = task.data or {}
        if "client_files" in data:
            frames = [_frame(name, content) for name, content in data["client_files"]]
        else:
            bucket = self._bucket(data["cloud_storage_id"])
            manifests = [name for name in data["server_files"] if name.endswith(".jsonl")]
            media = [name for name in data["server_files"] if not name.endswith(".jsonl")]
            if len(manifests) > 1:
                raise ValueError("only one manifest can be attached to data")
            if len(set(media)) < len(media):
                raise ValueError("duplicate files")
            if media and media[0].endswith(".mp4"):
                bucket.read(media[0])
                frames = [{"name": media[0], "width": 96, "height": 64, "related_files": 0}]
            elif manifests:
                frames = _by_manifest(bucket, manifests[0], media)
            else:
                frames = [_frame(name, bucket.read(name)) for name in media]
        if data.get("sorting_method") != "predefined" and "client_files" not in data:
            frames.sort(key=lambda frame: str(frame["name"]))
        self.meddle(frames)
        task.frames = frames

    def _page(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        return {"count": len(results), "next": None, "previous": None, "results": results}

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id


def _by_manifest(bucket: _S3Bucket | _GCSBucket, key: str, media: list[str]) -> list[dict[str, Any]]:
    """The frames of a task: as CVAT finds them, and as the images themselves are."""
    version, kind, *lines = bucket.read(key).decode().splitlines()
    assert json.loads(version)["version"] in ("1.0", "1.1")
    assert json.loads(kind) == {"type": "images"}
    prefix = f"{dirname(key)}/" if dirname(key) else ""
    items: dict[str, dict[str, Any]] = {}
    for line in lines:
        item = json.loads(line)
        name = prefix + item["name"] + item["extension"]
        if name in items:
            raise ValueError(f"duplicate item {name}")
        items[name] = item
    missing = [name for name in media if name not in items]
    if missing:
        raise IndexError("list index out of range")
    frames = []
    for name in media:
        item = items[name]
        shown = _frame(name, bucket.read(name))
        # CVAT trusts the manifest; this is how an annotator would notice.
        if (shown["width"], shown["height"]) != (item["width"], item["height"]):
            raise ValueError(f"{name} is {shown['width']}x{shown['height']}, which the manifest denies")
        frames.append(shown)
    return frames


def _frame(name: str, content: bytes) -> dict[str, Any]:
    image = Image.open(io.BytesIO(content))
    width, height = image.size
    if image.getexif().get(_ORIENTATION, 1) > 4:
        width, height = height, width
    return {"name": name, "width": width, "height": height, "related_files": 0, "has_related_context": False}


class _S3Bucket:
    """A bucket, by the credentials that CVAT was given."""

    def __init__(
        self, name: str, attributes: dict[str, str], key: str | None, secret_key: str | None
    ) -> None:
        self._name = name
        self._client = boto3.session.Session().client(
            "s3",
            endpoint_url=attributes.get("endpoint_url"),
            region_name=attributes.get("region", "us-east-1"),
            aws_access_key_id=key,
            aws_secret_access_key=secret_key,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def read(self, key: str) -> bytes:
        body: bytes = self._client.get_object(Bucket=self._name, Key=key)["Body"].read()
        return body

    def status(self) -> str:
        try:
            self._client.head_bucket(Bucket=self._name)
        except ClientError as error:
            return "FORBIDDEN" if error.response["Error"]["Code"] in ("403", "401") else "NOT_FOUND"
        except BotoCoreError:
            return "NOT_FOUND"
        return "AVAILABLE"


class _GCSBucket:
    """A GCS bucket; it checks credentials here, because the stand-in for GCS accepts any."""

    def __init__(self, endpoint: str, name: str, is_known: bool) -> None:
        self._url = f"{endpoint}/storage/v1/b/{name}"
        self._is_known = is_known

    def read(self, key: str) -> bytes:
        if not self._is_known:
            raise PermissionError(f"{self._url}: 401 Unauthorized")
        response = requests.get(f"{self._url}/o/{quote(key, safe='')}?alt=media", timeout=30)
        response.raise_for_status()
        return response.content

    def status(self) -> str:
        if not self._is_known:
            return "FORBIDDEN"
        return "AVAILABLE" if requests.get(self._url, timeout=30).ok else "NOT_FOUND"


def _form(raw: bytes, content_type: str) -> dict[str, Any]:
    fields, files = _parsed(raw, content_type)
    return {**dict(fields), **{name: file.read() for name, file in files.items()}}


def _files(raw: bytes, content_type: str) -> list[tuple[str, bytes]]:
    return [(file.filename, file.read()) for _, file in _parsed(raw, content_type)[1].items()]


def _parsed(raw: bytes, content_type: str) -> tuple[Any, Any]:
    kind, options = parse_options_header(content_type)
    _, fields, files = FormDataParser().parse(io.BytesIO(raw), kind, len(raw), options)
    return fields, files


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

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
                for name, value in _form(raw, content_type).items()
            }
            exchange.checked_body = json.dumps(fields).encode()
        status, answer = self.server.cvat.answer(exchange, raw)
        body = b"" if answer is None else json.dumps(answer).encode()
        exchange.status, exchange.answer = status, body
        if status < 300:
            problem = exchange.problem_of_answer()
            if problem is not None:
                self.server.cvat.problems.append(f"answer to {problem}")
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.cvat+json")
        self.send_header("Content-Length", str(len(body)))
        if parts.path == "/api/auth/login" and status == 200:
            self.send_header("Set-Cookie", f"sessionid={TOKEN}; Path=/")
            self.send_header("Set-Cookie", "csrftoken=csrf-42; Path=/")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    cvat: CVAT


@contextlib.contextmanager
def running_cvat(gcs_endpoint: str = "") -> Iterator[CVAT]:
    """Starts a stand-in on a free port.

    Raises:
        AssertionError: something was asked or answered that CVAT's document does not allow.
    """
    with _Server(("127.0.0.1", 0), _Handler) as server:
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
