"""AsyncMediaCache: a cache as coroutines use it."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import IO, TYPE_CHECKING, TypeVar

from forebay import forks
from forebay.aio.calls import Answer, Calls, in_thread
from forebay.cache import MediaCache
from forebay.errors import ForebayError
from forebay.uri import entry_of, is_local, local_file, uri_list, uri_text

if TYPE_CHECKING:
    from forebay.aio.async_context import AsyncDownloadContext
    from forebay.cache import URI
    from forebay.fetch.wanted_parts import Parts
    from forebay.jobs.creation import MessageSize
    from forebay.jobs.handle import Job
    from forebay.jobs.progress import ProgressOption

log = logging.getLogger(__name__)
_T = TypeVar("_T")


class AsyncMediaCache:
    """A `MediaCache` for coroutines: its operations wait without a thread, and can be cancelled.

    One thread fetches what all coroutines of a process wait for, from any number of event loops. A task
    that is cancelled, by a time-out too, gives up what it has waited for: unless something else waits for
    the object, its claim, its reserved bytes and its partial file go at once. May be used after a fork.

    Args:
        cache: the cache.

    Attributes:
        cache: the cache.
    """

    def __init__(self, cache: MediaCache) -> None:
        self.cache = cache
        self._engine = cache.engine
        self._calls = Calls()

    def __repr__(self) -> str:
        return f"AsyncMediaCache({self.cache!r})"

    async def local_path(self, uri: URI) -> str:
        """The path of a cached file; the file is downloaded if it is missing.

        As `MediaCache.local_path`. A hit takes microseconds, and does not leave the event loop.

        Args:
            uri: a remote URI or a local path.

        Returns:
            the path of a complete file.

        Raises:
            ForebayError: as `MediaCache.local_path`.
        """
        if not isinstance(uri, str):
            uri = uri_text(uri)
        if is_local(uri):
            return local_file(uri)
        entry = entry_of(uri)
        touch = partial(self._engine.files.touch, entry)
        path = await self._calls.quick(touch)
        if path is not None:
            self._engine.counters.hits += 1
            self._engine.counters.hit_bytes += self._engine.files.last_size
            if self._engine.hit_checks is not None:
                self._engine.hit_checks.hit(uri)
            return path
        self._engine.counters.misses += 1
        while path is None:
            # Once it is fetched, it may be evicted before it is touched.
            await self._fetch(uri, entry)
            path = await self._calls.quick(touch)
        return path

    async def open(self, uri: URI) -> IO[bytes]:
        """Opens a cached file for reading; it stays readable even if it is evicted meanwhile.

        Only the opening is awaited: reading is done by the file itself, from the volume. So, unlike what
        `MediaCache.open` does with a large object, the whole of it is downloaded before.

        Args:
            uri: a remote URI or a local path.

        Returns:
            the open file, in binary mode.

        Raises:
            ForebayError: as `MediaCache.local_path`.
            FileNotFoundError: a local path, at which there is no file.
        """
        while True:
            path = await self.local_path(uri)
            try:
                return await self._calls.quick(partial(_opened, path))
            except FileNotFoundError:
                # The file was evicted between the two calls.
                if is_local(uri_text(uri)):
                    raise

    def download_context(
        self,
        uris: Iterable[URI],
        batch_size: int | None = None,
        target_size_bytes: int | str | None = None,
        clear: bool = False,
        lookahead: int = 1,
        update: bool | float | str = False,
        skip_failures: bool = True,
        progress: ProgressOption = False,
    ) -> AsyncDownloadContext:
        """Iterates through local paths in order, and downloads the next batches meanwhile.

        The arguments and what they do are those of `MediaCache.download_context`.

        Returns:
            an asynchronous iterable over the paths, which is also an asynchronous context manager.

        Raises:
            ConfigError: ``batch_size`` or ``target_size_bytes`` is not allowed.
        """
        with forks.setting_up():
            from forebay.aio.async_context import AsyncDownloadContext

        return AsyncDownloadContext(
            self._engine,
            uri_list(uris),
            self.local_path,
            self._calls,
            batch_size=batch_size,
            target_size_bytes=target_size_bytes,
            clear=clear,
            lookahead=lookahead,
            update=update,
            skip_failures=skip_failures,
            progress=progress,
        )

    async def download_media(
        self,
        uris: Iterable[URI],
        update: bool | float | str = False,
        skip_failures: bool = True,
        wait: bool = True,
        lease: float | str | None = None,
        message_size: MessageSize = None,
        progress: ProgressOption = None,
        parts: Parts | None = None,
    ) -> Job:
        """Downloads samples into the cache.

        The arguments and what they do are those of `MediaCache.download_media`. A task that is cancelled
        while it waits cancels the job: downloads that run are finished, no others are begun.

        Returns:
            a handle on the job, whose own methods block.

        Raises:
            ForebayError: as `MediaCache.download_media`.
        """
        uris = uri_list(uris)
        start = partial(
            self.cache.download_media,
            uris,
            update=update,
            skip_failures=skip_failures,
            wait=False,
            lease=lease,
            message_size=message_size,
            parts=parts,
        )
        started: Future[Job] = Future()
        try:
            job = await in_thread(lambda: _settle(started, start))
            if wait:
                await _ended(job, skip_failures=skip_failures, progress=progress)
                await in_thread(partial(self._warn_of_overflow, [] if parts else uris, job))
        except asyncio.CancelledError:
            if wait:
                # Whatever becomes of this task meanwhile, it may be cancelled once more.
                with contextlib.suppress(ForebayError):
                    await in_thread(lambda: started.result().cancel())
            raise
        return job

    async def get_local_paths(
        self,
        uris: Iterable[URI],
        download: bool = True,
        skip_failures: bool = True,
        progress: ProgressOption = None,
    ) -> list[str]:
        """The local path of each URI, in order.

        The arguments and what they do are those of `MediaCache.get_local_paths`.

        Returns:
            one path for each URI, also where there is no file at it.

        Raises:
            ForebayError: as `MediaCache.get_local_paths`.
        """
        uris = uri_list(uris)
        if download:
            job = await self.download_media(uris, skip_failures=skip_failures, progress=progress)
            await in_thread(lambda: None if job.failed else job.forget())
        return await in_thread(partial(self.cache.get_local_paths, uris, download=False))

    def _warn_of_overflow(self, uris: list[str], job: Job) -> None:
        with forks.setting_up():
            from forebay.jobs.overflow import overflow_warning

        limit = self._engine.config.limit
        if text := overflow_warning(self._engine.open_index(), limit, uris, job.status()):
            log.warning("%s", text)

    async def _fetch(self, uri: str, entry: str) -> None:
        answer: Answer[None] = Answer()

        def done(error: Exception | None) -> None:
            if error is None:
                answer.give(None)
            else:
                answer.fail(error)

        orders = self._engine.orders
        order = orders.place(uri, entry, done)
        try:
            await answer.future
        except BaseException:
            # An order that has ended is cancelled in vain.
            orders.cancel(order)
            raise


async def _ended(job: Job, *, skip_failures: bool, progress: ProgressOption) -> None:
    """Waits for a job as `Job.wait` does, without a thread."""
    with forks.setting_up():
        from forebay.jobs.handle import looks
        from forebay.jobs.progress import reporter

    found = looks(job, skip_failures=skip_failures)
    with reporter(progress) as show:
        while True:
            look = await in_thread(lambda: next(found, None))
            if look is None:
                return
            status, seconds = look
            if seconds:
                await asyncio.sleep(seconds)
            elif show is not None:
                show(status)


def _settle(future: Future[_T], function: Callable[[], _T]) -> _T:
    """Calls a function; its result, or what it raises, is that of the future, too."""
    try:
        result = function()
    except BaseException as error:
        future.set_exception(error)
        raise
    future.set_result(result)
    return result


def _opened(path: str) -> IO[bytes]:
    return builtins.open(path, "rb")
