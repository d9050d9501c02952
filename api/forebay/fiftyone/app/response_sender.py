"""Sending a response, until the browser disconnects."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
from starlette.types import Receive, Scope, Send

from forebay.errors import ForebayError
from forebay.fiftyone.app import failure_log
from forebay.fiftyone.app.media_responses import MediaResponse
from forebay.fiftyone.app.server_threads import in_thread
from forebay.fiftyone.local_media import media_cache
from forebay.sources.base import Buffer

T = TypeVar("T")

_MAX_MESSAGE_BYTES = 256 << 10


class ResponseSender:
    """An ASGI application that sends one response, and stops reading it when the browser disconnects.

    Args:
        prepare: makes the response; called in a thread.
    """

    def __init__(self, prepare: Callable[[], MediaResponse]) -> None:
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
        reader = _ResponseReader(self._prepare)
        try:
            piece = await in_thread(reader.begin, with_body)
            response = reader.response
            assert response is not None
            headers = [
                (name.lower().encode(), text.encode("latin-1")) for name, text in response.headers.items()
            ]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            left = int(response.headers.get("Content-Length", "-1"))
            while piece:
                for start in range(0, len(piece), _MAX_MESSAGE_BYTES):
                    part = bytes(piece[start : start + _MAX_MESSAGE_BYTES])
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                left -= len(piece)
                piece = await in_thread(reader.next_piece) if left else None
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            reader.stop()


class _ResponseReader:
    """Reads the body of a response in threads; can be stopped while a thread is reading."""

    def __init__(self, prepare: Callable[[], MediaResponse]) -> None:
        self._prepare = prepare
        self._busy = threading.Lock()
        self._stopped = False
        self.response: MediaResponse | None = None

    def begin(self, with_body: bool) -> Buffer | None:
        """Makes the response; returns the first piece of its body."""

        def step() -> Buffer | None:
            self.response = self._prepare()
            return next(self.response.pieces, None) if with_body else None

        return self._step(step)

    def next_piece(self) -> Buffer | None:
        """The next piece; ``None`` after the last.

        Raises:
            SourceError: the source cannot be read.
        """
        response = self.response
        try:
            return self._step(lambda: next(response.pieces, None) if response is not None else None)
        except ForebayError as error:
            # The status has been sent, so the only way to report the error is to break off.
            failure_log.report(media_cache(), "cannot show the rest of", error)
            raise

    def stop(self) -> None:
        """Stops reading; if a thread is reading now, it closes the body when it has finished."""
        self._stopped = True
        if self._busy.acquire(blocking=False):
            try:
                if self.response is not None:
                    self.response.close()
            finally:
                self._busy.release()

    def _step(self, step: Callable[[], T]) -> T | None:
        try:
            with self._busy:
                return None if self._stopped else step()
        finally:
            if self._stopped:
                self.stop()
