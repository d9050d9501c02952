"""A download context for ``async for``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType

from typing_extensions import Self

from forebay.aio.async_window import AsyncLookAhead
from forebay.aio.calls import Calls, in_thread
from forebay.engine import Engine
from forebay.errors import ForebayError
from forebay.jobs.progress import ProgressOption
from forebay.lookahead.context import PassingLoop


class AsyncDownloadContext(PassingLoop):
    """Iterates through local paths, in order; `AsyncMediaCache.download_context` makes one.

    Usable in an ``async with`` statement, or in an ``async for`` loop at once. A loop that is left early
    (``break``, an error, the end of its task) stops downloading ahead when Python ends the iterator, which is
    soon; at the end of an ``async with`` block, it has. As for the rest, see `DownloadContext`.

    Attributes:
        failures: the URI (without secrets) and the error of each sample that could not be downloaded.
    """

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
        skip_failures: bool,
        progress: ProgressOption,
    ) -> None:
        self._ahead = AsyncLookAhead(
            engine,
            uris,
            local_path,
            calls,
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
        )
        super().__init__(engine, uris, skip_failures=skip_failures, progress=progress)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops downloading ahead, and ends the leases; the end of the loop does so, too."""
        self._opened.close()
        await in_thread(self._ahead.close)

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            for number, uri in enumerate(self._uris):
                yield await self._path(number, uri)
                self._pass_by(number + 1)
        finally:
            await self.aclose()

    async def _path(self, number: int, uri: str) -> str:
        try:
            return await self._ahead.await_path(number, uri)
        except ForebayError as error:
            return self._failed(uri, error)
