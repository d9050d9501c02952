"""The imports of a stand-in for CVAT."""

from __future__ import annotations

import json
import posixpath
import re
import time
import uuid
from typing import Any

from tests.cvat.schema import Exchange
from tests.cvat.standin_forms import read_files
from tests.cvat.standin_frames import frame_of, frames_by_manifest, frames_of_video
from tests.cvat.standin_state import NOW, RefusalError, Request, Task
from tests.cvat.standin_storages import Storages
from tests.cvat.standin_tasks import Tasks

_VIDEOS = (".mp4", ".mov", ".mkv", ".ts", ".m2ts", ".mts")


class Imports(Storages, Tasks):
    """Media of tasks: uploaded, or loaded from a bucket."""

    def _meta(self, number: int, **_: Any) -> tuple[int, Any]:
        task = self._task(number)
        return 200, {
            "chunks_updated_date": NOW,
            "deleted_frames": [],
            "frames": task.frames,
            "size": task.size,
            "start_frame": 0,
            "stop_frame": max(0, task.size - 1),
            "frame_filter": "",
            "image_quality": 75,
        }

    def _attach_data(self, number: int, exchange: Exchange, raw: bytes) -> tuple[int, Any]:
        task = self._task(number)
        if task.data is not None:
            raise RefusalError(400, ["Adding data is not supported for tasks already containing data"])
        if exchange.content_type.startswith("multipart/"):
            task.data = {"client_files": read_files(raw, exchange.content_type)}
            self.uploaded += [name for name, _ in task.data["client_files"]]
        else:
            task.data = _checked(json.loads(raw))
        request = Request(f"action-create-target-task-id-{number}-{uuid.uuid4().hex}", number)
        request.work = lambda: self._import(task)
        self.requests[request.id] = request
        if "client_files" in task.data:
            # FiftyOne's own upload looks for jobs, and never at the request.
            self._import(task)
            request.status = "finished"
        return 202, {"rq_id": request.id}

    def _one_request(self, name: str) -> tuple[int, Any]:
        self.when_asked()
        if self.hiccups:
            self.hiccups -= 1
            raise RefusalError(502, "Bad Gateway")
        request = self.requests[name]
        if request.status == "started" and not self.stuck:
            try:
                request.work()
                request.status = "finished"
            except Exception as error:
                request.status = "failed"
                request.message = (
                    f"Traceback (most recent call last):\n  …\n{type(error).__name__}: {error}\n"
                )
        elif request.status == "queued" and not self.queued:
            request.status = "started"
        return 200, {
            "id": request.id,
            "status": request.status,
            "message": request.message,
            "progress": {"finished": 1.0, "started": 0.5}.get(request.status),
            "created_date": NOW,
            "operation": {"type": "create:task", "target": "task", "task_id": request.task_id},
        }

    def _cancel(self, name: str) -> tuple[int, Any]:
        if self.requests[name].status != "queued":
            raise RefusalError(400, ["Only requests that have not been started can be cancelled"])
        del self.requests[name]
        return 200, None

    def _import(self, task: Task) -> None:
        """Imports the media of a task, as CVAT's worker does."""
        data = task.data or {}
        if "client_files" in data:
            frames = [frame_of(name, content) for name, content in data["client_files"]]
        else:
            bucket = self._bucket(data["cloud_storage_id"])
            manifests = [name for name in data["server_files"] if name.endswith(".jsonl")]
            media = [
                name
                for name in data["server_files"]
                # What lies there is context of other images.
                if not name.endswith(".jsonl") and "related_images" not in name.split("/")[:-1]
            ]
            if len(manifests) > 1:
                raise ValueError("only one manifest can be attached to data")
            if media and media[0].endswith(_VIDEOS):
                frames, found = frames_of_video(media[0], bucket.read(media[0]))
                first, last = data.get("start_frame", 0), data.get("stop_frame", found - 1)
                step = int(re.sub(r"step=", "", data.get("frame_filter") or "1"))
                task.frames = frames
                task.size = len(range(first, min(last + 1, found), step)) - self.lost_frames
                return
            if manifests:
                text = self._downloaded(data["cloud_storage_id"], manifests[0])
                frames = frames_by_manifest(text, manifests[0], media, bucket.read)
            else:
                frames = [frame_of(name, bucket.read(name)) for name in media]
        if data.get("sorting_method") != "predefined" and "client_files" not in data:
            frames.sort(key=lambda frame: str(frame["name"]))
        self.meddle(frames)
        task.frames, task.size = frames, len(frames)

    def _downloaded(self, storage: int, key: str) -> bytes:
        """A manifest: the copy that is there, unless the bucket's is newer by its time of modification."""
        bucket = self._bucket(storage)
        when, text = self.copies.get((storage, key), (0.0, b""))
        if bucket.modified(key) > when:
            when, text = time.time(), bucket.read(key)
            self.copies[storage, key] = when, text
        return text


def _checked(data: dict[str, Any]) -> dict[str, Any]:
    """What is asked to be imported, as far as CVAT looks at it before."""
    if data.get("image_quality") is None:
        raise RefusalError(400, {"image_quality": ["This field is required."]})
    for name in data["server_files"]:
        if name.startswith("/") or "://" in name:
            raise RefusalError(400, {"server_files": [f"{name} is not a relative path"]})
        if posixpath.normpath(name) != name:
            raise RefusalError(400, {"file": ["path is not in canonical form"]})
    if len(set(data["server_files"])) < len(data["server_files"]):
        raise RefusalError(500, "duplicate key value violates unique constraint")
    return data
