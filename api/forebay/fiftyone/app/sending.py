"""Sending an answer, for no longer than somebody wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio

from forebay.errors import ForebayError
from forebay.fiftyone.app import complaints
from forebay.fiftyone.app.answers import Answer
from forebay.fiftyone.app.threads import in_thread
from forebay.fiftyone.media import media_cache
from forebay.sources.base import Buffer

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

T = TypeVar("T")

_LARGEST_MESSAGE = 256 << 10


class Response:
    """An ASGI application that sends one answer, and stops fetching it when the browser goes away.

    Args:
        prepare: makes the answer; called in a thread.
    """

    def __init__(self, prepare: Callable[[], Answer]) -> None:
        self._prepare = prepare

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await self._send(send, with_body=scope["method"] != "HEAD")
            tasks.cancel_scope.cancel()

    async def _send(self, send: Send, *, with_body: bool) -> None:
        reading = _Reading(self._prepare)
        try:
            piece = await in_thread(reading.begin, with_body)
            answer = reading.answer
            assert answer is not None
            headers = [
                (name.lower().encode(), text.encode("latin-1")) for name, text in answer.headers.items()
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            left = int(answer.headers.get("Content-Length", "-1"))
            while piece:
                for place in range(0, len(piece), _LARGEST_MESSAGE):
                    part = bytes(piece[place : place + _LARGEST_MESSAGE])
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                left -= len(piece)
                piece = await in_thread(reading.go_on) if left else None
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            reading.stop()


class _Reading:
    """The body of an answer, read in threads; it can be stopped while one of them is at it."""

    def __init__(self, prepare: Callable[[], Answer]) -> None:
        self._prepare = prepare
        self._busy = threading.Lock()
        self._stopped = False
        self.answer: Answer | None = None

    def begin(self, with_body: bool) -> Buffer | None:
        """Makes the answer; gives the first piece of its body."""

        def step() -> Buffer | None:
            self.answer = self._prepare()
            return next(self.answer.pieces, None) if with_body else None

        return self._step(step)

    def go_on(self) -> Buffer | None:
        """The next piece; ``None`` after the last.

        Raises:
            SourceError: the source does not give it.
        """
        answer = self.answer
        try:
            return self._step(lambda: next(answer.pieces, None) if answer is not None else None)
        except ForebayError as error:
            # The browser has had the beginning, so all that can be done is to break off.
            complaints.note(media_cache(), "cannot show the rest of", error)
            raise

    def stop(self) -> None:
        """Reads no further. Whatever is being read now is closed when that is done."""
        self._stopped = True
        if self._busy.acquire(blocking=False):
            try:
                if self.answer is not None:
                    self.answer.close()
            finally:
                self._busy.release()

    def _step(self, step: Callable[[], T]) -> T | None:
        try:
            with self._busy:
                return None if self._stopped else step()
        finally:
            if self._stopped:
                self.stop()
