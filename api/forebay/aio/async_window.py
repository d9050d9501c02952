"""A look-ahead whose loop is a coroutine: it waits for its samples without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial

from forebay.aio.calls import Calls, in_thread
from forebay.engine import Engine
from forebay.errors import CacheFullError, ObjectTooLargeError
from forebay.lookahead.batch import Batch, Phase, is_fetchable
from forebay.lookahead.window import LookAhead
from forebay.uri import entry_of

_SETTLED_SECONDS = 0.01


class AsyncLookAhead(LookAhead):
    """Downloads the samples of one coroutine's loop ahead of it.

    Args:
        engine: of the cache.
        uris: in the order of the loop; each is a sample.
        local_path: the path of a file, which is downloaded when it is missing.
        calls: makes the calls that may take long.
    """

    # One coroutine asks, from whatever thread.
    _asker = staticmethod(lambda: 0)

    def __init__(
        self,
        engine: Engine,
        uris: list[str],
        local_path: Callable[[str], Awaitable[str]],
        calls: Calls,
        *,
        batch_size: int | None,
        target_size_bytes: int | str | None,
        clear: bool,
        lookahead: int,
        update: bool | float | str,
    ) -> None:
        super().__init__(
            engine,
            [(uri,) for uri in uris],
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
        )
        self._local_path = local_path
        self._calls = calls

    async def await_path(self, number: int, uri: str) -> str:
        """As `LookAhead.path`, without a thread that waits.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        batch = self._present(number) or await in_thread(partial(self._seek, number))
        try:
            path = None
            if batch is not None and is_fetchable(uri):
                path = await self._look_until(self._finder.looks(entry_of(uri), batch, leased=False))
            if path is None:
                path = await self._fetch_now(uri)
        finally:
            if self._short_of_room and self._active():
                self._go_on_from(number)
        self.failures.pop(uri, None)
        return path

    def _present(self, number: int) -> Batch | None:
        """The batch in which the loop is, if the sample is of that: nothing is left or begun for it."""
        if not self._active():
            return None
        with self._lock:
            first = self._ahead[0] if self._ahead else None
            return first if first is not None and first.first <= number < first.end else None

    async def _look_until(self, looks: Generator[float, None, str | None]) -> str | None:
        found: list[str | None] = []

        def look() -> float:
            try:
                return next(looks)
            except StopIteration as ended:
                found.append(ended.value)
                return 0.0

        while True:
            pause = await self._calls.quick(look)
            if found:
                return found[0]
            await asyncio.sleep(pause)

    async def _fetch_now(self, uri: str) -> str:
        """The path of the file that the loop needs now; what is needed last gives way for it."""
        self._finder.note(uri)
        while True:
            try:
                return await self._local_path(uri)
            except ObjectTooLargeError:
                raise
            except CacheFullError:
                batch = await in_thread(self._give_up_last)
                if batch is None:
                    raise
                while batch.phase < Phase.SETTLED:
                    await asyncio.sleep(_SETTLED_SECONDS)
