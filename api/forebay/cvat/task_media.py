"""Letting CVAT import the media of a task from a cloud storage, and checking what it imported."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from forebay.backoff import Backoff
from forebay.config.sizes import count
from forebay.cvat.orientations import is_rotated_by_cvat_only
from forebay.cvat.server import CvatServer
from forebay.errors import CvatError, CvatResponseError

_REREAD_SIZES = "Run compute_metadata(overwrite=True), and rebuild the manifest: forebay cvat manifest --anew"
_REREAD_MANIFEST = "rebuild it, and annotate a second later, as CVAT reads it again only if it is newer"
_TRACEBACK = "Traceback (most recent call last)"
_MAX_REASON = 500
_MIN_POLL_SECONDS = 0.1
_MAX_POLL_SECONDS = 2.0


def import_media(
    server: CvatServer,
    task_id: int,
    storage_id: int,
    keys: Sequence[str],
    *,
    manifest: str | None,
    timeout_seconds: float,
    progress: Callable[[float], object] = lambda _: None,
    **options: Any,
) -> None:
    """Starts the import of a task's media, and waits until CVAT has finished it.

    Args:
        keys: the objects, in the order of the frames.
        manifest: the key of the manifest with their sizes; without it CVAT opens each image.
        timeout_seconds: how long to wait.
        progress: called with the share that is done, from 0 to 1.
        options: further fields of CVAT's ``DataRequest``, such as ``image_quality``.

    Raises:
        CvatError: CVAT refuses the media, cannot import them, or is not done in time.
    """
    body = {
        **options,
        "cloud_storage_id": storage_id,
        "server_files": [*([manifest] if manifest else []), *keys],
        "sorting_method": "predefined",
    }
    answer = server.post(f"/api/tasks/{task_id}/data/", body)
    request = (answer or {}).get("rq_id")
    if not request:
        raise CvatError(
            f"CVAT at {server.masked_url} does not say how its import can be watched: upgrade it to 2.26 "
            f"or newer"
        )
    _wait(server, task_id, request, timeout_seconds, progress)


def list_frames(server: CvatServer, task_id: int) -> list[dict[str, Any]]:
    """The frames of a task, as CVAT lists them: name, width and height."""
    found: list[dict[str, Any]] = server.get(f"/api/tasks/{task_id}/data/meta")["frames"]
    return found


def check_frames(
    server: CvatServer,
    task_id: int,
    keys: Sequence[str],
    sizes: Sequence[tuple[int, int] | None],
    remedy: str = _REREAD_SIZES,
) -> None:
    """Checks that each frame of a task is the image of the sample with the same number.

    Args:
        keys: the objects, in order.
        sizes: their widths and heights; ``None`` where unknown.
        remedy: what the message advises when a size differs.

    Raises:
        CvatError: a frame is missing, is another image, or has another size.
    """
    frames = list_frames(server, task_id)
    if len(frames) != len(keys):
        raise CvatError(
            f"CVAT's task {task_id} has {count(len(frames), 'frame')} for {count(len(keys), 'sample')}; "
            f"labels would end up on the wrong ones, so none were sent"
        )
    for number, (frame, key, size) in enumerate(zip(frames, keys, sizes, strict=True)):
        if frame["name"] != key:
            raise CvatError(
                f"frame {number} of CVAT's task {task_id} is {frame['name']!r}, but sample {number} is "
                f"{key!r}; labels would end up on the wrong ones, so none were sent"
            )
        found = frame.get("width"), frame.get("height")
        if size is not None and is_rotated_by_cvat_only(key, found, size):
            raise CvatError(
                f"frame {number} of CVAT's task {task_id}, {key!r}, is {found[0]}x{found[1]} there, because "
                f"CVAT turns it as its EXIF data say, but {size[0]}x{size[1]} to FiftyOne, which turns JPEG "
                f"images only; labels would end up in the wrong places, so none were sent. Save it upright, "
                f"without an EXIF orientation, and run compute_metadata(overwrite=True)"
            )
        if size is not None and found != size:
            raise CvatError(
                f"frame {number} of CVAT's task {task_id}, {key!r}, is {found[0]}x{found[1]} there, but the "
                f"sample's metadata say {size[0]}x{size[1]}; labels would end up in the wrong places, so "
                f"none were sent. {remedy}"
            )


def _wait(
    server: CvatServer,
    task_id: int,
    request: str,
    timeout_seconds: float,
    progress: Callable[[float], object],
) -> None:
    try:
        answer = _end_of(server, task_id, request, timeout_seconds, progress)
    except BaseException:
        # One that has not started can be cancelled; CVAT refuses this for any other.
        with contextlib.suppress(CvatError):
            server.post(f"/api/requests/{request}/cancel", {})
        raise
    if answer["status"] == "failed":
        raise CvatError(
            f"CVAT's import of the media of task {task_id} failed: {_reason(answer.get('message'))}"
        )
    progress(1.0)


def _end_of(
    server: CvatServer,
    task_id: int,
    request: str,
    timeout_seconds: float,
    progress: Callable[[float], object],
) -> dict[str, Any]:
    """CVAT's answer about an import that has ended."""
    end, backoff = time.monotonic() + timeout_seconds, Backoff(_MIN_POLL_SECONDS, _MAX_POLL_SECONDS)
    while True:
        answer: dict[str, Any]
        try:
            answer = server.get(f"/api/requests/{request}")
        except CvatError as error:
            if isinstance(error, CvatResponseError) and error.status < 500:
                raise
            # The import continues on the server, whatever this request failed of.
            answer = {"status": "not answering"}
        status = answer["status"]
        if status in ("finished", "failed"):
            return answer
        progress(answer.get("progress") or 0.0)
        if time.monotonic() >= end:
            raise CvatError(
                f"CVAT's import of the media of task {task_id} is not done after {timeout_seconds:g} s "
                f"({status}, {100 * (answer.get('progress') or 0):.0f} %): are CVAT's import workers "
                f"running? cloud_timeout= waits longer"
            )
        time.sleep(max(0.0, min(backoff.next(), end - time.monotonic())))


def _reason(message: str | None) -> str:
    """What CVAT's message says in the end, if it is a traceback, with an explanation of known errors."""
    lines = [text for text in (message or "").splitlines() if text.strip()]
    begin = max((i for i, text in enumerate(lines) if text.startswith(_TRACEBACK)), default=None)
    if begin is not None:
        # The frames are indented, what was raised is not; the lines of its text may be anything.
        raised = (i for i in range(begin + 1, len(lines)) if not lines[i].startswith(" "))
        lines = lines[next(raised, len(lines) - 1) :]
    text = " ".join(" ".join(lines).split()) or "it does not say why"
    text = text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"
    if text.startswith(("KeyError: 'width'", "KeyError: 'height'")):
        return f"{text} (an image in the manifest has no size)"
    if "no intersection of the files" in text or "no match the upload manifest" in text:
        return f"{text.rstrip('.')}. The manifest that CVAT has lacks them: {_REREAD_MANIFEST}"
    return text
